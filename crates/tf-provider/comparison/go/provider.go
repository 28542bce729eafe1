package main

import (
	"context"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

type paper struct{}

type paperModel struct {
	Directory types.String `tfsdk:"directory"`
}

func newPaper() provider.Provider {
	return paper{}
}

func (paper) Metadata(_ context.Context, _ provider.MetadataRequest, response *provider.MetadataResponse) {
	response.TypeName = "paper"
}

func (paper) Schema(_ context.Context, _ provider.SchemaRequest, response *provider.SchemaResponse) {
	response.Schema = schema.Schema{
		MarkdownDescription: "Keeps notes in a directory.",
		Attributes: map[string]schema.Attribute{
			"directory": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "The directory.",
			},
		},
	}
}

func (paper) Configure(ctx context.Context, request provider.ConfigureRequest, response *provider.ConfigureResponse) {
	var config paperModel
	response.Diagnostics.Append(request.Config.Get(ctx, &config)...)
	if response.Diagnostics.HasError() || config.Directory.IsUnknown() {
		return
	}
	directory := config.Directory.ValueString()
	if found, err := os.Stat(directory); err != nil || !found.IsDir() {
		detail := directory + " is not a directory."
		response.Diagnostics.AddAttributeError(path.Root("directory"), "Unable to open the directory", detail)
		return
	}
	response.ResourceData = directory
}

func (paper) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{newNote}
}

func (paper) DataSources(context.Context) []func() datasource.DataSource {
	return nil
}
