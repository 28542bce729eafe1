package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
	"google.golang.org/grpc"
)

// Returns the provider's declarations, by name.
func schema(ctx context.Context, p *protocol, program string) (any, error) {
	s, err := start(program, asCore)
	if err != nil {
		return nil, err
	}
	defer s.client.Kill()
	declared, err := p.call(ctx, s.conn, "GetProviderSchema", message{})
	if err != nil {
		return nil, err
	}
	resources := map[string][]string{}
	for name, resource := range declared["resource_schemas"].(message) {
		resources[name] = names(resource.(message)["block"].(message))
	}
	found := map[string]any{
		"protocol":  s.client.NegotiatedVersion(),
		"provider":  names(declared["provider"].(message)["block"].(message)),
		"resources": resources,
		"ping":      reason(s.spoken.Ping()),
	}
	found["end"], err = s.end()
	return found, err
}

func names(block message) []string {
	found := []string{}
	for _, attribute := range list(block, "attributes") {
		found = append(found, text(attribute, "name"))
	}
	return found
}

// A resource type of a running, configured provider.
type kind struct {
	protocol *protocol
	conn     *grpc.ClientConn
	name     string
	block    message
	ty       cty.Type
}

// Runs an object from plan to destroy, and then a create that StopProvider interrupts.
func life(ctx context.Context, p *protocol, program, shelf string) (any, error) {
	s, err := start(program, asCore)
	if err != nil {
		return nil, err
	}
	defer s.client.Kill()
	boxes, err := configured(ctx, p, s.conn, shelf)
	if err != nil {
		return nil, err
	}
	found := map[string]any{}
	given := map[string]cty.Value{
		"name":   cty.StringVal("größer"),
		"weight": cty.MustParseNumberVal("0.1"),
		"volume": cty.MustParseNumberVal("9007199254740993"),
	}
	nothing := cty.NullVal(boxes.ty)
	config := configuration(boxes.block, boxes.ty, given)
	planned, err := boxes.plan(ctx, nothing, proposed(boxes.block, config), config)
	if err != nil {
		return nil, err
	}
	found["planned"] = readable(planned)
	created, _, err := boxes.apply(ctx, nothing, planned, config)
	if err != nil {
		return nil, err
	}
	found["created"] = readable(created)
	again, err := boxes.plan(ctx, created, created, config)
	if err != nil {
		return nil, err
	}
	found["steady"] = again.RawEquals(created)
	gone, _, err := boxes.apply(ctx, created, nothing, nothing)
	if err != nil {
		return nil, err
	}
	found["gone"] = gone.IsNull()
	if found["stopped"], err = boxes.stop(ctx, filepath.Join(shelf, "1.json")); err != nil {
		return nil, err
	}
	found["end"], err = s.end()
	return found, err
}

func configured(ctx context.Context, p *protocol, conn *grpc.ClientConn, shelf string) (*kind, error) {
	declared, err := p.call(ctx, conn, "GetProviderSchema", message{})
	if err != nil {
		return nil, err
	}
	block := declared["provider"].(message)["block"].(message)
	ty, err := objectType(block)
	if err != nil {
		return nil, err
	}
	config, err := encode(configuration(block, ty, map[string]cty.Value{"directory": cty.StringVal(shelf)}), ty)
	if err != nil {
		return nil, err
	}
	answer, err := p.call(ctx, conn, "ConfigureProvider", message{"terraform_version": "1.11.0", "config": config})
	if err != nil {
		return nil, err
	}
	if reported := diagnostics(answer); len(reported) > 0 {
		return nil, fmt.Errorf("ConfigureProvider: %v", reported)
	}
	name := "shelf_box"
	block = declared["resource_schemas"].(message)[name].(message)["block"].(message)
	ty, err = objectType(block)
	return &kind{p, conn, name, block, ty}, err
}

func (k *kind) plan(ctx context.Context, prior, proposed, config cty.Value) (cty.Value, error) {
	request := message{"type_name": k.name, "client_capabilities": message{"write_only_attributes_allowed": true}}
	values := map[string]cty.Value{"prior_state": prior, "proposed_new_state": proposed, "config": config}
	answer, err := k.call(ctx, "PlanResourceChange", request, values)
	if err != nil {
		return cty.NilVal, err
	}
	if reported := diagnostics(answer); len(reported) > 0 {
		return cty.NilVal, fmt.Errorf("PlanResourceChange: %v", reported)
	}
	return decode(answer["planned_state"], k.ty)
}

// Returns the new state, also if the call fails, and the errors' summaries.
func (k *kind) apply(ctx context.Context, prior, planned, config cty.Value) (cty.Value, []string, error) {
	values := map[string]cty.Value{"prior_state": prior, "planned_state": planned, "config": config}
	answer, err := k.call(ctx, "ApplyResourceChange", message{"type_name": k.name}, values)
	if err != nil {
		return cty.NilVal, nil, err
	}
	state, err := decode(answer["new_state"], k.ty)
	return state, diagnostics(answer), err
}

func (k *kind) call(ctx context.Context, name string, request message, values map[string]cty.Value) (message, error) {
	for field, value := range values {
		encoded, err := encode(value, k.ty)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, field, err)
		}
		request[field] = encoded
	}
	return k.protocol.call(ctx, k.conn, name, request)
}

// The answer of a create that is interrupted after it has written its file.
type interrupted struct {
	// Error text of StopProvider.
	Refusal string `json:"refusal"`
	// Summaries of the create's errors.
	Errors []string `json:"errors"`
	// State of the existing object.
	Partial any `json:"partial"`
}

func (k *kind) stop(ctx context.Context, file string) (*interrupted, error) {
	nothing := cty.NullVal(k.ty)
	config := configuration(k.block, k.ty, map[string]cty.Value{"name": cty.StringVal("slow")})
	planned, err := k.plan(ctx, nothing, proposed(k.block, config), config)
	if err != nil {
		return nil, err
	}
	found, ended := &interrupted{}, make(chan error, 1)
	go func() {
		state, reported, err := k.apply(ctx, nothing, planned, config)
		if err == nil {
			found.Errors, found.Partial = reported, readable(state)
		}
		ended <- err
	}()
	for _, err := os.Stat(file); err != nil; _, err = os.Stat(file) {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the create ended early: %v %v", found.Errors, err)
		case <-ctx.Done():
			return nil, fmt.Errorf("the create did not begin: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	answer, err := k.protocol.call(ctx, k.conn, "StopProvider", message{})
	if err != nil {
		return nil, err
	}
	found.Refusal = text(answer, "Error")
	return found, <-ended
}

func diagnostics(answer message) []string {
	found := []string{}
	for _, diagnostic := range list(answer, "diagnostics") {
		found = append(found, text(diagnostic, "summary"))
	}
	return found
}

// Returns the attributes as JSON. Unknown values are "(unknown)".
func readable(object cty.Value) map[string]any {
	if object.IsNull() {
		return nil
	}
	found := map[string]any{}
	for name, value := range object.AsValueMap() {
		if !value.IsWhollyKnown() {
			found[name] = "(unknown)"
			continue
		}
		found[name] = ctyjson.SimpleJSONValue{Value: value}
	}
	return found
}
