package main

import (
	"encoding/base64"
	"fmt"
	"maps"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
	"github.com/zclconf/go-cty/cty/msgpack"
)

// Returns the type of the values of a schema block.
func objectType(block message) (cty.Type, error) {
	types := map[string]cty.Type{}
	for _, attribute := range list(block, "attributes") {
		ty, err := attributeType(attribute)
		if err != nil {
			return cty.NilType, fmt.Errorf("%v: %w", attribute["name"], err)
		}
		types[text(attribute, "name")] = ty
	}
	for _, nested := range list(block, "block_types") {
		ty, err := objectType(nested["block"].(message))
		if err != nil {
			return cty.NilType, fmt.Errorf("%v: %w", nested["type_name"], err)
		}
		if types[text(nested, "type_name")], err = repeated(text(nested, "nesting"), ty); err != nil {
			return cty.NilType, err
		}
	}
	return cty.Object(types), nil
}

func attributeType(attribute message) (cty.Type, error) {
	if nested, ok := attribute["nested_type"].(message); ok && nested != nil {
		ty, err := objectType(nested)
		if err != nil {
			return cty.NilType, err
		}
		return repeated(text(nested, "nesting"), ty)
	}
	plain, err := base64.StdEncoding.DecodeString(text(attribute, "type"))
	if err != nil {
		return cty.NilType, err
	}
	return ctyjson.UnmarshalType(plain)
}

func repeated(nesting string, object cty.Type) (cty.Type, error) {
	switch nesting {
	case "SINGLE", "GROUP":
		return object, nil
	case "LIST":
		return cty.List(object), nil
	case "SET":
		return cty.Set(object), nil
	case "MAP":
		return cty.Map(object), nil
	}
	return cty.NilType, fmt.Errorf("%q is not a way of nesting", nesting)
}

// Returns a configuration with the given values. Other attributes are null, and blocks are absent as their nesting requires.
func configuration(block message, ty cty.Type, given map[string]cty.Value) cty.Value {
	values := map[string]cty.Value{}
	for name, attribute := range ty.AttributeTypes() {
		values[name] = cty.NullVal(attribute)
	}
	for _, nested := range list(block, "block_types") {
		name := text(nested, "type_name")
		switch attribute := ty.AttributeType(name); {
		case attribute.IsListType():
			values[name] = cty.ListValEmpty(attribute.ElementType())
		case attribute.IsSetType():
			values[name] = cty.SetValEmpty(attribute.ElementType())
		case attribute.IsMapType():
			values[name] = cty.MapValEmpty(attribute.ElementType())
		}
	}
	maps.Copy(values, given)
	return cty.ObjectVal(values)
}

// Returns the object that a core proposes: the configuration, with unknown values for attributes that the provider may set.
func proposed(block message, config cty.Value) cty.Value {
	values := config.AsValueMap()
	for _, attribute := range list(block, "attributes") {
		name := text(attribute, "name")
		if attribute["computed"] == true && values[name].IsNull() {
			values[name] = cty.UnknownVal(values[name].Type())
		}
	}
	return cty.ObjectVal(values)
}

func encode(value cty.Value, ty cty.Type) (message, error) {
	bytes, err := msgpack.Marshal(value, ty)
	return message{"msgpack": bytes}, err
}

func decode(dynamic any, ty cty.Type) (cty.Value, error) {
	carrier, ok := dynamic.(message)
	if !ok {
		return cty.NilVal, fmt.Errorf("the answer has no value")
	}
	bytes, err := base64.StdEncoding.DecodeString(text(carrier, "msgpack"))
	if err != nil {
		return cty.NilVal, err
	}
	return msgpack.Unmarshal(bytes, ty)
}

func text(from message, name string) string {
	found, _ := from[name].(string)
	return found
}

func list(from message, name string) []message {
	items, _ := from[name].([]any)
	found := make([]message, 0, len(items))
	for _, item := range items {
		if entry, ok := item.(message); ok {
			found = append(found, entry)
		}
	}
	return found
}
