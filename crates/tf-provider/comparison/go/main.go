// The provider of examples/paper, written on HashiCorp's framework for Go: the other side of the comparison.
package main

import (
	"context"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
)

func main() {
	options := providerserver.ServeOpts{Address: "example.com/example/paper"}
	if err := providerserver.Serve(context.Background(), newPaper, options); err != nil {
		log.Fatal(err)
	}
}
