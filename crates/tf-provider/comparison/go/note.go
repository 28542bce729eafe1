package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

type note struct {
	directory string
}

type noteModel struct {
	Name   types.String `tfsdk:"name"`
	Text   types.String `tfsdk:"text"`
	Length types.Int64  `tfsdk:"length"`
}

type noteIdentity struct {
	Name types.String `tfsdk:"name"`
}

var (
	_ resource.ResourceWithConfigure   = &note{}
	_ resource.ResourceWithIdentity    = &note{}
	_ resource.ResourceWithImportState = &note{}
)

func newNote() resource.Resource {
	return &note{}
}

func (*note) Metadata(_ context.Context, request resource.MetadataRequest, response *resource.MetadataResponse) {
	response.TypeName = request.ProviderTypeName + "_note"
}

func (*note) Schema(_ context.Context, _ resource.SchemaRequest, response *resource.SchemaResponse) {
	response.Schema = schema.Schema{
		MarkdownDescription: "A note, kept as a file.",
		Attributes: map[string]schema.Attribute{
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the file; another name is another note.",
				PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
				Validators:          []validator.String{stringvalidator.UTF8LengthBetween(1, 64)},
			},
			"text": schema.StringAttribute{
				Optional:            true,
				Computed:            true,
				Default:             stringdefault.StaticString(""),
				MarkdownDescription: "Text of the note.",
			},
			"length": schema.Int64Attribute{
				Computed:            true,
				MarkdownDescription: "Length of the text in bytes.",
			},
		},
	}
}

func (*note) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, response *resource.IdentitySchemaResponse) {
	response.IdentitySchema = identityschema.Schema{
		Attributes: map[string]identityschema.Attribute{
			"name": identityschema.StringAttribute{RequiredForImport: true},
		},
	}
}

func (n *note) Configure(_ context.Context, request resource.ConfigureRequest, response *resource.ConfigureResponse) {
	if request.ProviderData == nil {
		return
	}
	directory, ok := request.ProviderData.(string)
	if !ok {
		detail := fmt.Sprintf("A directory was expected, not %T.", request.ProviderData)
		response.Diagnostics.AddError("Unexpected provider data", detail)
		return
	}
	n.directory = directory
}

func (n *note) Create(ctx context.Context, request resource.CreateRequest, response *resource.CreateResponse) {
	var model noteModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	n.write(&model, &response.Diagnostics)
	if response.Diagnostics.HasError() {
		return
	}
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
	response.Diagnostics.Append(response.Identity.Set(ctx, noteIdentity{Name: model.Name})...)
}

func (n *note) Read(ctx context.Context, request resource.ReadRequest, response *resource.ReadResponse) {
	var model noteModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	text, err := os.ReadFile(n.file(&model))
	if errors.Is(err, fs.ErrNotExist) {
		response.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		response.Diagnostics.AddError("Unable to read note", err.Error())
		return
	}
	model.Text = types.StringValue(string(text))
	model.Length = types.Int64Value(int64(len(text)))
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
	response.Diagnostics.Append(response.Identity.Set(ctx, noteIdentity{Name: model.Name})...)
}

func (n *note) Update(ctx context.Context, request resource.UpdateRequest, response *resource.UpdateResponse) {
	var model noteModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	n.write(&model, &response.Diagnostics)
	if response.Diagnostics.HasError() {
		return
	}
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
	response.Diagnostics.Append(response.Identity.Set(ctx, noteIdentity{Name: model.Name})...)
}

func (n *note) Delete(ctx context.Context, request resource.DeleteRequest, response *resource.DeleteResponse) {
	var model noteModel
	response.Diagnostics.Append(request.State.Get(ctx, &model)...)
	if response.Diagnostics.HasError() {
		return
	}
	if err := os.Remove(n.file(&model)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		response.Diagnostics.AddError("Unable to remove note", err.Error())
	}
}

func (*note) ImportState(ctx context.Context, request resource.ImportStateRequest, response *resource.ImportStateResponse) {
	resource.ImportStatePassthroughWithIdentity(ctx, path.Root("name"), path.Root("name"), request, response)
}

func (n *note) file(model *noteModel) string {
	return filepath.Join(n.directory, model.Name.ValueString())
}

func (n *note) write(model *noteModel, diagnostics *diag.Diagnostics) {
	text := model.Text.ValueString()
	if err := os.WriteFile(n.file(model), []byte(text), 0o644); err != nil {
		diagnostics.AddError("Unable to write note", err.Error())
		return
	}
	model.Length = types.Int64Value(int64(len(text)))
}
