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
	ID        string                `json:"id"`
	Call      string                `json:"call"`
	Via       string                `json:"via"`
	Problem   string                `json:"problem"`
	Path      []any                 `json:"path"`
	Body      any                   `json:"body"`
	Query     map[string]any        `json:"query"`
	Tensors   map[string]tensorSpec `json:"tensors"`
	Parts     map[string]partSpec   `json:"parts"`
	ContentOf string                `json:"content_of"`
	Spoil     int                   `json:"spoil"`
	File      string                `json:"file"`
	Key       string                `json:"key"`
	Save      map[string][]any      `json:"save"`
	Only      *[]string             `json:"only"`
	Keep      []string              `json:"keep"`
	FirstLine bool                  `json:"first_line"`
}

type runner struct {
	root    string
	names   map[string]string // what stands for it in arguments, and what it is
	ignore  map[string]bool
	clients map[string]*client.Client
}

// named: @ in arguments is the name of this runner, so that all can use one server; $NAME is what a step saved.
func (r *runner) named(value any) any {
	return mapTexts(value, nil, r.name)
}

func (r *runner) name(text string) string {
	if saved, ok := r.names[text]; ok {
		return saved
	}
	return strings.ReplaceAll(text, "@", r.names["@"])
}

// common is a reply without what differs between runners and runs.
func (r *runner) common(value any, keep []string) any {
	ignore := map[string]bool{}
	for name := range r.ignore {
		ignore[name] = true
	}
	for _, name := range keep {
		delete(ignore, name)
	}
	return mapTexts(value, ignore, func(text string) string {
		for name, meaning := range r.names {
			text = strings.ReplaceAll(text, meaning, name)
		}
		return text
	})
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
				out[change(name)] = mapTexts(inner, without, change)
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
	answer, err = r.selected(one, answer)
	if err != nil {
		return "failed " + err.Error()
	}
	digest := sha256.Sum256([]byte(canonical(r.common(answer, one.Keep))))
	return hex.EncodeToString(digest[:])
}

// selected saves what later steps need, and leaves out what is not compared.
func (r *runner) selected(one step, answer any) (any, error) {
	for name, way := range one.Save {
		found := answer
		for _, key := range way {
			switch at := key.(type) {
			case string:
				members, _ := found.(map[string]any)
				found = members[at]
			case float64:
				values, _ := found.([]any)
				if int(at) >= len(values) {
					return nil, fmt.Errorf("nothing to save as %s", name)
				}
				found = values[int(at)]
			}
		}
		text, ok := found.(string)
		if !ok {
			return nil, fmt.Errorf("%s is no text: %v", name, found)
		}
		r.names["$"+name] = text
	}
	if one.Only != nil {
		members, _ := answer.(map[string]any)
		only := map[string]any{}
		for _, name := range *one.Only {
			only[name] = members[name]
		}
		return only, nil
	}
	if text, ok := answer.(string); ok && one.FirstLine {
		return strings.Split(text, "\n")[0], nil
	}
	return answer, nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	given := map[string]*string{}
	for _, name := range []string{"scenario", "url", "faults", "unix", "token", "read-token", "name", "out", "root"} {
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
	names := map[string]string{"@": *given["name"] + "--"}
	r := &runner{*given["root"], names, map[string]bool{}, map[string]*client.Client{}}
	for _, name := range all.Ignore {
		r.ignore[name] = true
	}
	quick := client.Retry{FirstWait: 20 * time.Millisecond}
	for via, options := range map[string]client.Options{
		"":           {URL: *given["url"], Token: *given["token"]},
		"read":       {URL: *given["url"], Token: *given["read-token"]},
		"none":       {URL: *given["url"]},
		"unix":       {Unix: *given["unix"], Token: *given["token"]},
		"faults":     {URL: *given["faults"], Token: *given["token"], Retry: quick, Timeout: 2 * time.Second},
		"no-streams": {URL: *given["faults"] + "/no-streams", Token: *given["token"], Retry: quick},
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
