// The provider of examples/paper, written with HashiCorp's framework for Go, to compare the two.
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
