// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	client "mustafarclient"
)

// ask calls the method whose name the step has.
func (r *runner) ask(one step) (any, error) {
	method := reflect.ValueOf(r.clients[one.Via]).MethodByName(goName(one.Call))
	if !method.IsValid() {
		return nil, fmt.Errorf("there is no method %s", goName(one.Call))
	}
	if one.Call == "watch_job" {
		return r.watch(one)
	}
	given := r.given(one)
	arguments := []reflect.Value{reflect.ValueOf(context.Background())}
	for i := 1; i < method.Type().NumIn(); i++ {
		argument := reflect.New(method.Type().In(i))
		if err := given.set(argument); err != nil {
			return nil, err
		}
		arguments = append(arguments, argument.Elem())
	}
	results := method.Call(arguments)
	if err, _ := results[len(results)-1].Interface().(error); err != nil || len(results) == 1 {
		return nil, err
	}
	return described(results[0].Interface()), nil
}

// given are the arguments of a step, taken by the types that a method asks for.
type given struct {
	*runner
	step
	path    []any
	tensors []string // names, in the order of the method
}

func (r *runner) given(one step) *given {
	tensors := []string{"k", "v"}
	for _, first := range [][]string{{"q"}, {"out_a", "lse_a", "out_b", "lse_b"}} {
		if _, ok := one.Tensors[first[0]]; ok {
			tensors = first
		}
	}
	return &given{r, one, one.Path, tensors}
}

func (g *given) set(argument reflect.Value) (err error) {
	switch to := argument.Interface().(type) {
	case *client.Tensor:
		*to, err = g.Tensors[g.tensors[0]].make()
		g.tensors = g.tensors[1:]
	case *[]client.Pair:
		*to, err = pairs(g.Tensors)
	case *map[string]client.Part:
		*to = map[string]client.Part{}
		for id, spec := range g.Parts {
			part := client.Part{Expect: spec.Expect}
			if part.Layers, err = pairs(spec.Tensors); err != nil {
				return err
			}
			(*to)[g.name(id)] = part
		}
	case *map[string]client.Tensor:
		*to = map[string]client.Tensor{}
		for id, spec := range g.Tensors {
			if (*to)[g.name(id)], err = spec.make(); err != nil {
				return err
			}
		}
	case *[]byte:
		*to, err = g.content(g.step)
	case *client.PostJobsOptions:
		to.IdempotencyKey = g.name(g.Key)
	default:
		return g.setPlain(argument)
	}
	return err
}

func (g *given) setPlain(argument reflect.Value) error {
	if strings.HasSuffix(argument.Elem().Type().Name(), "Query") {
		return g.setQuery(argument.Elem())
	}
	if len(g.path) > 0 {
		first := g.path[0]
		g.path = g.path[1:]
		return convert(g.named(first), argument.Interface())
	}
	return convert(g.named(g.Body), argument.Interface())
}

func (g *given) setQuery(target reflect.Value) error {
	for name, value := range g.Query {
		field := target.FieldByName(goName(name))
		if !field.IsValid() {
			return fmt.Errorf("%s has no field %s", target.Type(), goName(name))
		}
		if err := convert(g.named(value), field.Addr().Interface()); err != nil {
			return err
		}
	}
	return nil
}

// content is the file that a step uploads.
func (r *runner) content(one step) ([]byte, error) {
	if one.File != "" {
		return os.ReadFile(filepath.Join(r.root, one.File))
	}
	content, err := r.clients[one.Via].GetSnapshotContent(context.Background(), r.name(one.ContentOf))
	if err == nil && one.Spoil > 0 {
		content[one.Spoil] ^= 0xFF
	}
	return content, err
}

func (r *runner) watch(one step) (any, error) {
	kinds, rows := []string{}, []json.RawMessage{}
	var done json.RawMessage
	id, _ := r.named(one.Path[0]).(string)
	err := r.clients[one.Via].WatchJob(context.Background(), id, 0, func(event client.Event) error {
		if event.Kind != "progress" {
			kinds = append(kinds, event.Kind)
		}
		if event.Kind == "row" {
			rows = append(rows, event.Data)
		}
		done = event.Data
		return nil
	})
	return map[string]any{"kinds": kinds, "rows": rows, "done": done}, err
}

func convert(value any, to any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

func goName(name string) string {
	out := ""
	for _, part := range strings.Split(name, "_") {
		switch part {
		case "id", "lse":
			out += strings.ToUpper(part)
		default:
			out += strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return out
}
