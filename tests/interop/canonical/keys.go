package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

// signatureName is the annotation that holds the signature of each kind.
var signatureName = map[string]string{
	"packagebundle": packagesDomain + "/signature",
	"object":        packagesDomain + "/signature",
	"bundles":       bundlesDomain + "/signature",
	"eksd":          distroDomain + "/signature",
}

// sign gives the document of a file with a signature by the private key in a PEM file.
func sign(kind, keyFile, file string) ([]byte, error) {
	document, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, err := pemBlock(keyFile)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block)
	if err != nil {
		return nil, err
	}
	key, right := parsed.(*ecdsa.PrivateKey)
	if !right {
		return nil, fmt.Errorf("%T is not a key of ECDSA", parsed)
	}
	signed, err := canonical(kind, document)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(signed)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	object := map[string]any{}
	if err := yaml.Unmarshal(document, &object); err != nil {
		return nil, err
	}
	member(member(object, "metadata"), "annotations")[signatureName[kind]] = base64.StdEncoding.EncodeToString(signature)
	return yaml.Marshal(object)
}

// verify checks the signature in the document of a file with the public key in a PEM file.
func verify(kind, keyFile, file string) error {
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	block, err := pemBlock(keyFile)
	if err != nil {
		return err
	}
	parsed, err := x509.ParsePKIXPublicKey(block)
	if err != nil {
		return err
	}
	key, right := parsed.(*ecdsa.PublicKey)
	if !right {
		return fmt.Errorf("%T is not a key of ECDSA", parsed)
	}
	object := map[string]any{}
	if err := yaml.Unmarshal(document, &object); err != nil {
		return err
	}
	annotations, err := annotationsOf(object)
	if err != nil {
		return err
	}
	encoded := annotations[signatureName[kind]]
	if encoded == "" {
		return errors.New("there is no signature")
	}
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	signed, err := canonical(kind, document)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(signed)
	if !ecdsa.VerifyASN1(key, digest[:], signature) {
		return errors.New("the signature is not of this document by this key")
	}
	return nil
}

func member(object map[string]any, name string) map[string]any {
	if held, there := object[name].(map[string]any); there {
		return held
	}
	held := map[string]any{}
	object[name] = held
	return held
}

func pemBlock(file string) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", file)
	}
	return block.Bytes, nil
}
