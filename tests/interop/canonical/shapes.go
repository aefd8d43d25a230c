package main

import (
	"encoding/json"
	"reflect"
	"strings"
)

var unmarshals = reflect.TypeOf((*json.Unmarshaler)(nil)).Elem()

// shapes describes the types of all kinds, for whoever makes documents up.
func shapes() ([]byte, error) {
	return json.Marshal(map[string]any{
		"packagebundle": shape(reflect.TypeOf(PackageBundle{})),
		"bundles":       shape(reflect.TypeOf(Bundles{})),
		"eksd":          shape(reflect.TypeOf(Release{})),
	})
}

// shape is an object of the fields of a struct, a list of one shape, {"*": shape} for a map, and for
// everything else the name of a type: "string", "bool", "int", "int64", "Time", "any" …
func shape(of reflect.Type) any {
	switch {
	case of.Kind() == reflect.Pointer:
		return shape(of.Elem())
	case reflect.PointerTo(of).Implements(unmarshals):
		return of.Name()
	case of.Kind() == reflect.Slice:
		return []any{shape(of.Elem())}
	case of.Kind() == reflect.Map:
		return map[string]any{"*": shape(of.Elem())}
	case of.Kind() == reflect.Struct:
		fields := map[string]any{}
		addFields(fields, of)
		return fields
	}
	return of.Kind().String()
}

func addFields(fields map[string]any, of reflect.Type) {
	for index := range of.NumField() {
		field := of.Field(index)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && field.Anonymous {
			addFields(fields, field.Type)
		} else if name != "-" {
			fields[name] = shape(field.Type)
		}
	}
}
