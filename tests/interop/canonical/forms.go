package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/itchyny/gojq"
	"sigs.k8s.io/yaml"
)

// Annotation domains.
const (
	packagesDomain = "eksa.aws.com"
	bundlesDomain  = "anywhere.eks.amazonaws.com"
	distroDomain   = "distro.eks.amazonaws.com"
)

// What is deleted from each kind before it is signed, beside what a document itself excludes.
var (
	packagesDeleted = []string{
		".status",
		".metadata.creationTimestamp",
		".metadata.generation",
		".metadata.managedFields",
		".metadata.uid",
		".metadata.resourceVersion",
		".spec.minControllerVersion",
	}
	releasesDeleted = []string{
		".status",
		".metadata.creationTimestamp",
		".metadata.annotations",
		".metadata.generation",
		".metadata.managedFields",
		".metadata.uid",
		".metadata.resourceVersion",
		".metadata.namespace",
	}
	bundlesUnsigned = []string{
		"bootstrap", "bottlerocketBootstrapContainers", "bottlerocketHostContainers", "certManager",
		"cilium", "cloudStack", "clusterAPI", "controlPlane", "docker", "eksa", "eksD.components",
		"eksD.manifestUrl", "etcdadmBootstrap", "etcdadmController", "flux", "haproxy", "kindnetd",
		"nutanix", "packageController", "snow", "tinkerbell", "upgrader", "vSphere",
	}
)

// canonical gives the bytes that are signed for a document.
func canonical(kind string, document []byte) ([]byte, error) {
	switch kind {
	case "packagebundle":
		object := &PackageBundle{}
		if err := yaml.Unmarshal(document, object); err != nil {
			return nil, err
		}
		return packageForm(object, object.Annotations)
	case "object":
		object := map[string]any{}
		if err := yaml.Unmarshal(document, &object); err != nil {
			return nil, err
		}
		annotations, err := annotationsOf(object)
		if err != nil {
			return nil, err
		}
		return packageForm(object, annotations)
	case "bundles":
		object := &Bundles{}
		if err := yaml.Unmarshal(document, object); err != nil {
			return nil, err
		}
		return releaseForm(object, bundlesDeleted())
	case "eksd":
		object := &Release{}
		if err := yaml.Unmarshal(document, object); err != nil {
			return nil, err
		}
		return releaseForm(object, releasesDeleted)
	case "yaml", "json":
		return rendered(kind, document)
	}
	return nil, fmt.Errorf("there is no kind %q", kind)
}

// rendered writes a JSON value as it is.
func rendered(form string, document []byte) ([]byte, error) {
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		return nil, err
	}
	if form == "yaml" {
		return yaml.Marshal(value)
	}
	return json.Marshal(value)
}

func bundlesDeleted() []string {
	deleted := append([]string{}, releasesDeleted...)
	for _, field := range bundlesUnsigned {
		deleted = append(deleted, ".spec.versionsBundles[]."+field)
	}
	return deleted
}

// annotationsOf reads the annotations of an object that has no Go type, as strictly as if it had one.
func annotationsOf(object map[string]any) (map[string]string, error) {
	metadata, right := object["metadata"].(map[string]any)
	if !right && object["metadata"] != nil {
		return nil, errors.New("metadata is not an object")
	}
	raw, err := json.Marshal(metadata["annotations"])
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{}
	return annotations, json.Unmarshal(raw, &annotations)
}

// packageForm is the form of curated packages: YAML, without what the annotation excludes.
func packageForm(object any, annotations map[string]string) ([]byte, error) {
	selectors, err := excluded(annotations)
	if err != nil {
		return nil, err
	}
	program := fmt.Sprintf(
		`del(%s) | (.metadata.annotations | objects) |= with_entries(select(.key | test("^%s/(?:includes|excludes)$")))`,
		strings.Join(append(selectors, packagesDeleted...), ", "),
		strings.ReplaceAll(packagesDomain, ".", `\\.`),
	)
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	filtered, err := filter(raw, program)
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(filtered)
}

// excluded decodes the selectors of an annotation: those that begin with a field, one a line.
func excluded(annotations map[string]string) ([]string, error) {
	encoded, there := annotations[packagesDomain+"/excludes"]
	if !there {
		return nil, nil
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	var selectors []string
	for _, line := range strings.Split(string(decoded), "\n") {
		if line == "" {
			continue
		}
		parsed, err := gojq.Parse(line)
		if err != nil {
			return nil, err
		}
		if parsed.Term == nil || parsed.Term.Type != gojq.TermTypeIndex {
			return nil, errors.New("invalid selector(s) provided")
		}
		selectors = append(selectors, line)
	}
	return selectors, nil
}

// releaseForm is the form of release manifests: JSON, after one round through YAML.
func releaseForm(object any, deleted []string) ([]byte, error) {
	written, err := yaml.Marshal(object)
	if err != nil {
		return nil, err
	}
	raw, err := yaml.YAMLToJSON(written)
	if err != nil {
		return nil, err
	}
	filtered, err := filter(raw, "del("+strings.Join(deleted, ", ")+")")
	if err != nil {
		return nil, err
	}
	return json.Marshal(filtered)
}

var (
	programs     = map[string]*gojq.Code{}
	programsLock sync.Mutex
)

// filter runs a jq program that has one result. Upstream's packages controller does not look whether
// that result is an error, and signs the same empty map for all such documents; here it is an error.
func filter(raw []byte, program string) (any, error) {
	code, err := compiled(program)
	if err != nil {
		return nil, err
	}
	var value any
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&value); err != nil {
		return nil, err
	}
	result, there := code.Run(value).Next()
	if !there {
		return nil, errors.New("the jq program has no result")
	}
	if err, failed := result.(error); failed {
		return nil, err
	}
	return result, nil
}

func compiled(program string) (*gojq.Code, error) {
	programsLock.Lock()
	defer programsLock.Unlock()
	if code, there := programs[program]; there {
		return code, nil
	}
	query, err := gojq.Parse(program)
	if err != nil {
		return nil, err
	}
	code, err := gojq.Compile(query)
	if err != nil {
		return nil, err
	}
	if len(programs) < 256 {
		programs[program] = code
	}
	return code, nil
}
