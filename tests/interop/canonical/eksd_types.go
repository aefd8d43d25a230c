package main

// Written from a description of the format alone, then compared field by field with
// github.com/aws/eks-distro-build-tooling, release/api/v1alpha1/release{,_status}.go of
// 19 August 2026 (d6d2704a903d). Equal.

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Release is a release of EKS Distro.
type Release struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ReleaseSpec   `json:"spec,omitempty"`
	Status ReleaseStatus `json:"status,omitempty"`
}

// ReleaseSpec says which release it is.
type ReleaseSpec struct {
	Channel         string `json:"channel,omitempty"`
	Number          int    `json:"number,omitempty"`
	BuildRepoCommit string `json:"buildRepoCommit,omitempty"`
}

// ReleaseStatus is everything in the release.
type ReleaseStatus struct {
	Date       string      `json:"date,omitempty"`
	Components []Component `json:"components,omitempty"`
}

// Component is one of its projects.
type Component struct {
	Name      string  `json:"name,omitempty"`
	GitCommit string  `json:"gitCommit,omitempty"`
	GitTag    string  `json:"gitTag,omitempty"`
	Assets    []Asset `json:"assets,omitempty"`
}

// Asset is an image or an archive.
type Asset struct {
	Name        string        `json:"name,omitempty"`
	Type        string        `json:"type,omitempty"`
	Description string        `json:"description,omitempty"`
	OS          string        `json:"os,omitempty"`
	Arch        []string      `json:"arch,omitempty"`
	Image       *AssetImage   `json:"image,omitempty"`
	Archive     *AssetArchive `json:"archive,omitempty"`
}

// AssetImage is where an image is.
type AssetImage struct {
	URI         string `json:"uri,omitempty"`
	ImageDigest string `json:"imageDigest,omitempty"`
}

// AssetArchive is where a file is.
type AssetArchive struct {
	URI    string `json:"uri,omitempty"`
	SHA512 string `json:"sha512,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}
