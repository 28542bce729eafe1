package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// A message in the JSON form of protocol buffers, with the names of the definitions. Bytes are base64.
type message = map[string]any

// The provider's service, from the definitions.
type protocol struct {
	service protoreflect.ServiceDescriptor
}

func load(ctx context.Context, definitions string) (*protocol, error) {
	sources := &protocompile.SourceResolver{ImportPaths: []string{definitions}}
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(sources)}
	files, err := compiler.Compile(ctx, "tfplugin6.proto")
	if err != nil {
		return nil, fmt.Errorf("compiling the definitions: %w", err)
	}
	service := files[0].Services().ByName("Provider")
	if service == nil {
		return nil, fmt.Errorf("the definitions have no service Provider")
	}
	return &protocol{service}, nil
}

// Makes a call. Fails if the answer has a field that the definitions lack, because a field number is then wrong.
func (p *protocol) call(ctx context.Context, conn *grpc.ClientConn, name string, request message) (message, error) {
	method := p.service.Methods().ByName(protoreflect.Name(name))
	if method == nil {
		return nil, fmt.Errorf("the definitions have no call %s", name)
	}
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	asked, answer := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	if err := protojson.Unmarshal(text, asked); err != nil {
		return nil, fmt.Errorf("%s: the request does not fit the definitions: %w", name, err)
	}
	path := fmt.Sprintf("/%s/%s", p.service.FullName(), name)
	if err := conn.Invoke(ctx, path, asked, answer); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if where := unknown(answer); where != "" {
		return nil, fmt.Errorf("%s: the answer has a field in %s that the definitions lack", name, where)
	}
	text, err = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(answer)
	if err != nil {
		return nil, err
	}
	var read message
	return read, json.Unmarshal(text, &read)
}

// Returns the name of the first message with a field that its definition lacks.
func unknown(found proto.Message) string {
	message := found.ProtoReflect()
	if len(message.GetUnknown()) > 0 {
		return string(message.Descriptor().FullName())
	}
	where := ""
	look := func(value protoreflect.Value) bool {
		where = unknown(value.Message().Interface())
		return where == ""
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, entry protoreflect.Value) bool { return look(entry) })
		case field.IsList() && field.Message() != nil:
			for index := range value.List().Len() {
				if !look(value.List().Get(index)) {
					break
				}
			}
		case !field.IsMap() && field.Message() != nil:
			look(value)
		}
		return where == ""
	})
	return where
}
