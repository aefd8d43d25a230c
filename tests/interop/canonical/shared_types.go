package main

// The leaves of release manifests: what is an image, an archive, a manifest somewhere else.

// Image is a container image or a chart.
type Image struct {
	Name        string   `json:"name,omitempty"`
	Description string   `json:"description,omitempty"`
	OS          string   `json:"os,omitempty"`
	OSName      string   `json:"osName,omitempty"`
	Arch        []string `json:"arch,omitempty"`
	URI         string   `json:"uri,omitempty"`
	ImageDigest string   `json:"imageDigest,omitempty"`
}

// Archive is a file with checksums.
type Archive struct {
	Name        string   `json:"name,omitempty"`
	Description string   `json:"description,omitempty"`
	OS          string   `json:"os,omitempty"`
	OSName      string   `json:"osName,omitempty"`
	Arch        []string `json:"arch,omitempty"`
	URI         string   `json:"uri,omitempty"`
	SHA512      string   `json:"sha512,omitempty"`
	SHA256      string   `json:"sha256,omitempty"`
}

// Manifest is a YAML file that is named by its address alone.
type Manifest struct {
	URI string `json:"uri,omitempty"`
}
