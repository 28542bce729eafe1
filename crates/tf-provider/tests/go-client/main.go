// A client of provider programs that shares no code with the framework. HashiCorp's go-plugin does the handshake, the codec
// of values is that of the cores, and another compiler compiles the definitions in proto/ for the messages.
//
// The client asserts nothing. Each command does one thing with a provider and prints the result as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const usage = `usage: go-client COMMAND PROTO PROVIDER [DIRECTORY]

  schema     what the provider declares
  life       one box of the shelf in DIRECTORY, from plan to destruction, and a create that is stopped
  outsiders  connections of others than the one who started the provider
  refused    starts that do not lead to a served provider
  plain      a client that has switched TLS off
`

// Time limit for the whole run, which normally takes less than a second.
const deadline = 60 * time.Second

func main() {
	if len(os.Args) < 4 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command, definitions, program string, rest []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	protocol, err := load(ctx, definitions)
	if err != nil {
		return err
	}
	var found any
	switch command {
	case "schema":
		found, err = schema(ctx, protocol, program)
	case "life":
		if len(rest) != 1 {
			return fmt.Errorf("the directory of the shelf is missing")
		}
		found, err = life(ctx, protocol, program, rest[0])
	case "outsiders":
		found, err = outsiders(ctx, protocol, program)
	case "refused":
		found, err = refused(program)
	case "plain":
		found, err = plain(ctx, protocol, program)
	default:
		return fmt.Errorf("%q is not a command\n%s", command, usage)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
