package main

// Written from a description of the format alone, then compared field by field with
// github.com/aws/eks-anywhere-packages, api/v1alpha1/packagebundle_types.go of 26 June 2026
// (1e8277a8095c). Equal, but for the omitempty of a struct, which has no effect.

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PackageBundle is a list of curated packages.
type PackageBundle struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   PackageBundleSpec   `json:"spec,omitempty"`
	Status PackageBundleStatus `json:"status,omitempty"`
}

// PackageBundleSpec is what it lists.
type PackageBundleSpec struct {
	Packages             []BundlePackage `json:"packages"`
	MinControllerVersion string          `json:"minControllerVersion"`
}

// BundlePackage is one package.
type BundlePackage struct {
	Name         string              `json:"name,omitempty"`
	WorkloadOnly bool                `json:"workloadonly,omitempty"`
	Source       BundlePackageSource `json:"source"`
}

// BundlePackageSource is where its chart is.
type BundlePackageSource struct {
	Registry   string          `json:"registry,omitempty"`
	Repository string          `json:"repository"`
	Versions   []SourceVersion `json:"versions"`
}

// SourceVersion is one version of the chart.
type SourceVersion struct {
	Name         string          `json:"name"`
	Digest       string          `json:"digest"`
	Images       []VersionImages `json:"images,omitempty"`
	Schema       string          `json:"schema,omitempty"`
	Dependencies []string        `json:"dependencies,omitempty"`
}

// VersionImages is an image of that version.
type VersionImages struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
}

// PackageBundleStatus is what the controller thinks of it.
type PackageBundleStatus struct {
	Spec  PackageBundleSpec `json:"spec,omitempty"`
	State string            `json:"state"`
}
