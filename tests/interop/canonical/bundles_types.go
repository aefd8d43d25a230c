package main

// Written from a description of the format alone, then compared field by field with
// github.com/aws/eks-anywhere, release/api/v1alpha1/{bundle,artifact}_types.go of 18 August 2026
// (aebd9a0623cd). Only four omitempty differed, three of them without effect on structs, the fourth
// (cloudStack.version) inside what is never signed; they are as upstream has them now.

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Bundles is EKS Anywhere's list of what a release consists of.
type Bundles struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BundlesSpec   `json:"spec,omitempty"`
	Status BundlesStatus `json:"status,omitempty"`
}

// BundlesSpec is what a Bundles says.
type BundlesSpec struct {
	Number          int              `json:"number"`
	CliMinVersion   string           `json:"cliMinVersion"`
	CliMaxVersion   string           `json:"cliMaxVersion"`
	VersionsBundles []VersionsBundle `json:"versionsBundles"`
}

// BundlesStatus has nothing in it.
type BundlesStatus struct{}

// VersionsBundle is everything for one minor version of Kubernetes.
type VersionsBundle struct {
	KubeVersion                     string                          `json:"kubeVersion"`
	EndOfStandardSupport            string                          `json:"endOfStandardSupport,omitempty"`
	EksD                            EksDRelease                     `json:"eksD"`
	CertManager                     CertManager                     `json:"certManager"`
	ClusterAPI                      CoreProvider                    `json:"clusterAPI"`
	Bootstrap                       CoreProvider                    `json:"bootstrap"`
	ControlPlane                    CoreProvider                    `json:"controlPlane"`
	VSphere                         VSphere                         `json:"vSphere"`
	CloudStack                      CloudStack                      `json:"cloudStack,omitempty"`
	Docker                          Docker                          `json:"docker"`
	Eksa                            Eksa                            `json:"eksa"`
	Cilium                          Cilium                          `json:"cilium"`
	Kindnetd                        Kindnetd                        `json:"kindnetd"`
	Flux                            Flux                            `json:"flux"`
	PackageController               PackageController               `json:"packageController"`
	BottlerocketHostContainers      BottlerocketHostContainers      `json:"bottlerocketHostContainers"`
	BottlerocketBootstrapContainers BottlerocketBootstrapContainers `json:"bottlerocketBootstrapContainers,omitempty"`
	EtcdadmBootstrap                CoreProvider                    `json:"etcdadmBootstrap"`
	EtcdadmController               CoreProvider                    `json:"etcdadmController"`
	Tinkerbell                      Tinkerbell                      `json:"tinkerbell,omitempty"`
	Haproxy                         Haproxy                         `json:"haproxy,omitempty"`
	Snow                            Snow                            `json:"snow,omitempty"`
	Nutanix                         Nutanix                         `json:"nutanix,omitempty"`
	Upgrader                        Upgrader                        `json:"upgrader,omitempty"`
	Aws                             *Aws                            `json:"aws,omitempty"`
}

// EksDRelease points at a Release of EKS Distro and holds the files made for it.
type EksDRelease struct {
	Name           string  `json:"name,omitempty"`
	ReleaseChannel string  `json:"channel,omitempty"`
	KubeVersion    string  `json:"kubeVersion,omitempty"`
	ManifestURL    string  `json:"manifestUrl,omitempty"`
	GitCommit      string  `json:"gitCommit,omitempty"`
	Components     string  `json:"components,omitempty"`
	KindNode       Image   `json:"kindNode,omitempty"`
	Ami            OSImage `json:"ami,omitempty"`
	Ova            OSImage `json:"ova,omitempty"`
	Raw            OSImage `json:"raw,omitempty"`
	Etcdadm        Archive `json:"etcdadm,omitempty"`
	Crictl         Archive `json:"crictl,omitempty"`
	ImageBuilder   Archive `json:"imagebuilder,omitempty"`
	Containerd     Archive `json:"containerd,omitempty"`
}

// OSImage is an image of a machine.
type OSImage struct {
	Bottlerocket Archive `json:"bottlerocket,omitempty"`
}

// CertManager is cert-manager.
type CertManager struct {
	Version         string   `json:"version,omitempty"`
	Acmesolver      Image    `json:"acmesolver"`
	Cainjector      Image    `json:"cainjector"`
	Controller      Image    `json:"controller"`
	Ctl             *Image   `json:"ctl,omitempty"`
	Startupapicheck Image    `json:"startupapicheck"`
	Webhook         Image    `json:"webhook"`
	Manifest        Manifest `json:"manifest"`
}

// CoreProvider is a provider of Cluster API that has a controller and a proxy.
type CoreProvider struct {
	Version    string   `json:"version"`
	Controller Image    `json:"controller"`
	KubeProxy  Image    `json:"kubeProxy"`
	Components Manifest `json:"components"`
	Metadata   Manifest `json:"metadata"`
}

// VSphere is the provider for vSphere.
type VSphere struct {
	Version              string   `json:"version"`
	ClusterAPIController Image    `json:"clusterAPIController"`
	KubeProxy            Image    `json:"kubeProxy"`
	Manager              Image    `json:"manager"`
	KubeVip              Image    `json:"kubeVip"`
	Components           Manifest `json:"components"`
	Metadata             Manifest `json:"metadata"`
	ClusterTemplate      Manifest `json:"clusterTemplate"`
	Driver               *Image   `json:"driver,omitempty"`
	Syncer               *Image   `json:"syncer,omitempty"`
}

// CloudStack is the provider for CloudStack.
type CloudStack struct {
	Version              string   `json:"version"`
	ClusterAPIController Image    `json:"clusterAPIController,omitempty"`
	KubeRbacProxy        Image    `json:"kubeRbacProxy,omitempty"`
	KubeVip              Image    `json:"kubeVip,omitempty"`
	Components           Manifest `json:"components,omitempty"`
	Metadata             Manifest `json:"metadata,omitempty"`
}

// Docker is the provider for Docker.
type Docker struct {
	Version         string   `json:"version"`
	Manager         Image    `json:"manager"`
	KubeProxy       Image    `json:"kubeProxy"`
	Components      Manifest `json:"components"`
	ClusterTemplate Manifest `json:"clusterTemplate"`
	Metadata        Manifest `json:"metadata"`
}

// Eksa is EKS Anywhere itself.
type Eksa struct {
	Version             string   `json:"version,omitempty"`
	CliTools            Image    `json:"cliTools"`
	ClusterController   Image    `json:"clusterController"`
	DiagnosticCollector Image    `json:"diagnosticCollector"`
	Components          Manifest `json:"components"`
}

// Cilium is the network; its chart is written as an image.
type Cilium struct {
	Version   string    `json:"version,omitempty"`
	Cilium    Image     `json:"cilium"`
	Operator  Image     `json:"operator"`
	Manifest  *Manifest `json:"manifest,omitempty"`
	HelmChart Image     `json:"helmChart,omitempty"`
}

// Kindnetd is the network of kind.
type Kindnetd struct {
	Version  string   `json:"version,omitempty"`
	Manifest Manifest `json:"manifest"`
}

// Flux is GitOps.
type Flux struct {
	Version                string `json:"version,omitempty"`
	SourceController       Image  `json:"sourceController"`
	KustomizeController    Image  `json:"kustomizeController"`
	HelmController         Image  `json:"helmController"`
	NotificationController Image  `json:"notificationController"`
}

// PackageController is the controller of curated packages.
type PackageController struct {
	Version                   string `json:"version,omitempty"`
	PackageController         Image  `json:"packageController"`
	TokenRefresher            Image  `json:"tokenRefresher"`
	CredentialProviderPackage Image  `json:"credentialProviderPackage,omitempty"`
	HelmChart                 Image  `json:"helmChart,omitempty"`
}

// BottlerocketHostContainers run beside Bottlerocket.
type BottlerocketHostContainers struct {
	Admin            Image `json:"admin"`
	Control          Image `json:"control"`
	KubeadmBootstrap Image `json:"kubeadmBootstrap"`
}

// BottlerocketBootstrapContainers run before Bottlerocket is ready.
type BottlerocketBootstrapContainers struct {
	MultiNetworkBootstrap Image `json:"multiNetworkBootstrap,omitempty"`
}

// Tinkerbell is the provider for bare metal.
type Tinkerbell struct {
	Version              string          `json:"version"`
	ClusterAPIController Image           `json:"clusterAPIController"`
	KubeVip              Image           `json:"kubeVip"`
	Envoy                Image           `json:"envoy"`
	Components           Manifest        `json:"components"`
	Metadata             Manifest        `json:"metadata"`
	ClusterTemplate      Manifest        `json:"clusterTemplate"`
	TinkerbellStack      TinkerbellStack `json:"tinkerbellStack,omitempty"`
}

// TinkerbellStack is what boots machines.
type TinkerbellStack struct {
	Actions         Actions `json:"actions"`
	Boots           Image   `json:"boots"`
	Hegel           *Image  `json:"hegel,omitempty"`
	TinkerbellChart Image   `json:"tinkerbellChart"`
	Hook            Hook    `json:"hook"`
	Rufio           *Image  `json:"rufio,omitempty"`
	Tink            Tink    `json:"tink"`
	TinkerbellCrds  Image   `json:"tinkerbellCrds"`
	Stack           Image   `json:"stack"`
}

// Actions are the steps of a provisioning.
type Actions struct {
	Cexec       Image `json:"cexec"`
	Kexec       Image `json:"kexec"`
	ImageToDisk Image `json:"imageToDisk"`
	OciToDisk   Image `json:"ociToDisk"`
	WriteFile   Image `json:"writeFile"`
	Reboot      Image `json:"reboot"`
}

// Hook is the system that a machine boots first.
type Hook struct {
	Bootkit   Image     `json:"bootkit"`
	Docker    Image     `json:"docker"`
	Kernel    Image     `json:"kernel"`
	Initramfs HookFiles `json:"initramfs"`
	Vmlinuz   HookFiles `json:"vmlinuz"`
	ISO       HookFiles `json:"iso"`
}

// HookFiles is one file for two architectures.
type HookFiles struct {
	Arm Archive `json:"arm"`
	Amd Archive `json:"amd"`
}

// Tink is the workflow engine.
type Tink struct {
	TinkRelay      *Image `json:"tinkRelay,omitempty"`
	TinkRelayInit  Image  `json:"tinkRelayInit"`
	TinkController *Image `json:"tinkController,omitempty"`
	TinkServer     *Image `json:"tinkServer,omitempty"`
	TinkWorker     *Image `json:"tinkWorker,omitempty"`
	Nginx          *Image `json:"nginx,omitempty"`
}

// Haproxy balances load in Docker clusters.
type Haproxy struct {
	Image Image `json:"image"`
}

// Snow is the provider for Snow devices.
type Snow struct {
	Version                   string   `json:"version"`
	Manager                   Image    `json:"manager"`
	KubeVip                   Image    `json:"kubeVip"`
	Components                Manifest `json:"components"`
	Metadata                  Manifest `json:"metadata"`
	BottlerocketBootstrapSnow Image    `json:"bottlerocketBootstrapSnow"`
}

// Nutanix is the provider for Nutanix.
type Nutanix struct {
	ClusterAPIController Image    `json:"clusterAPIController"`
	CloudProvider        Image    `json:"cloudProvider,omitempty"`
	Version              string   `json:"version"`
	KubeVip              Image    `json:"kubeVip"`
	Components           Manifest `json:"components"`
	Metadata             Manifest `json:"metadata"`
	ClusterTemplate      Manifest `json:"clusterTemplate"`
}

// Upgrader upgrades nodes in place.
type Upgrader struct {
	Upgrader Image `json:"upgrader"`
}

// Aws is the provider for AWS, which is no longer there.
type Aws struct {
	Version         string   `json:"version"`
	Controller      Image    `json:"controller"`
	KubeProxy       Image    `json:"kubeProxy"`
	Components      Manifest `json:"components"`
	ClusterTemplate Manifest `json:"clusterTemplate"`
	Metadata        Manifest `json:"metadata"`
}
