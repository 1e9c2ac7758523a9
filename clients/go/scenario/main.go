// SPDX-License-Identifier: Apache-2.0

// The runner of the scenario for the Go client; clients/scenario/README.md says what a runner does.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	client "mustafarclient"
)

type scenario struct {
	Ignore []string `json:"ignore"`
	Steps  []step   `json:"steps"`
}

type step struct {
	ID      string                     `json:"id"`
	Call    string                     `json:"call"`
	Via     string                     `json:"via"`
	Problem string                     `json:"problem"`
	Path    []any                      `json:"path"`
	Body    any                        `json:"body"`
	Query   map[string]json.RawMessage `json:"query"`
	Tensors map[string]tensorSpec      `json:"tensors"`
}

type runner struct {
	prefix  string
	ignore  map[string]bool
	clients map[string]*client.Client
}

// named: @ in arguments is the name of this runner, so that all can use one server.
func (r *runner) named(value any) any {
	return mapTexts(value, nil, func(text string) string { return strings.ReplaceAll(text, "@", r.prefix) })
}

// common is a reply without what differs between runners and runs.
func (r *runner) common(value any) any {
	return mapTexts(value, r.ignore, func(text string) string { return strings.ReplaceAll(text, r.prefix, "@") })
}

func mapTexts(value any, without map[string]bool, change func(string) string) any {
	switch one := value.(type) {
	case string:
		return change(one)
	case []any:
		out := make([]any, len(one))
		for i, inner := range one {
			out[i] = mapTexts(inner, without, change)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for name, inner := range one {
			if !without[name] {
				out[name] = mapTexts(inner, without, change)
			}
		}
		return out
	}
	return value
}

// plain is any value as JSON says it.
func plain(value any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(text, &out)
}

func (r *runner) run(one step) string {
	answer, err := r.ask(one)
	found := ""
	var problem *client.Problem
	var lost *client.Lost
	var bad *client.BadReply
	switch {
	case errors.As(err, &problem):
		found = string(problem.Type)
		answer = map[string]any{"problem": found, "status": problem.Status, "members": problem.Members}
	case errors.As(err, &lost):
		found, answer = "lost", "lost"
	case errors.As(err, &bad):
		found, answer = "bad-reply", "bad-reply"
	case err != nil:
		return "failed " + err.Error()
	}
	if found != one.Problem {
		return fmt.Sprintf("failed %q: %v", found, answer)
	}
	if answer, err = plain(answer); err != nil {
		return "failed " + err.Error()
	}
	digest := sha256.Sum256([]byte(canonical(r.common(answer))))
	return hex.EncodeToString(digest[:])
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	given := map[string]*string{}
	for _, name := range []string{"scenario", "url", "faults", "unix", "token", "read-token", "name", "out"} {
		given[name] = flag.String(name, "", "see clients/scenario/README.md")
	}
	flag.Parse()
	for name, value := range given {
		if *value == "" {
			return fmt.Errorf("-%s is missing", name)
		}
	}
	text, err := os.ReadFile(*given["scenario"])
	if err != nil {
		return err
	}
	var all scenario
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	r := &runner{*given["name"] + "--", map[string]bool{}, map[string]*client.Client{}}
	for _, name := range all.Ignore {
		r.ignore[name] = true
	}
	quick := client.Retry{FirstWait: 20 * time.Millisecond}
	for via, options := range map[string]client.Options{
		"":       {URL: *given["url"], Token: *given["token"]},
		"read":   {URL: *given["url"], Token: *given["read-token"]},
		"none":   {URL: *given["url"]},
		"unix":   {Unix: *given["unix"], Token: *given["token"]},
		"faults": {URL: *given["faults"], Token: *given["token"], Retry: quick, Timeout: 2 * time.Second},
	} {
		if r.clients[via], err = client.NewClient(options); err != nil {
			return err
		}
	}
	out, err := os.Create(*given["out"])
	if err != nil {
		return err
	}
	defer out.Close()
	for _, one := range all.Steps {
		line := strings.ReplaceAll(r.run(one), "\n", " ")
		if _, err := fmt.Fprintln(out, one.ID, line); err != nil {
			return err
		}
	}
	return nil
}
