// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	client "mustafarclient"
)

// ask calls the method whose name the step has, with arguments of the types that the method asks for.
func (r *runner) ask(one step) (any, error) {
	method := reflect.ValueOf(r.clients[one.Via]).MethodByName(goName(one.Call))
	if !method.IsValid() {
		return nil, fmt.Errorf("there is no method %s", goName(one.Call))
	}
	arguments := []reflect.Value{reflect.ValueOf(context.Background())}
	path := one.Path
	tensors := []string{"k", "v"}
	if _, query := one.Tensors["q"]; query {
		tensors = []string{"q"}
	}
	for i := 1; i < method.Type().NumIn(); i++ {
		kind := method.Type().In(i)
		argument := reflect.New(kind)
		var err error
		switch {
		case kind == reflect.TypeOf(client.Tensor{}):
			var tensor client.Tensor
			tensor, err = one.Tensors[tensors[0]].make()
			argument.Elem().Set(reflect.ValueOf(tensor))
			tensors = tensors[1:]
		case strings.HasSuffix(kind.Name(), "Query"):
			err = setFields(argument.Elem(), r, one.Query)
		case len(path) > 0:
			err = convert(r.named(path[0]), argument.Interface())
			path = path[1:]
		default:
			err = convert(r.named(one.Body), argument.Interface())
		}
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, argument.Elem())
	}
	results := method.Call(arguments)
	if err, _ := results[len(results)-1].Interface().(error); err != nil || len(results) == 1 {
		return nil, err
	}
	if attended, ok := results[0].Interface().(*client.Attended); ok {
		reply := map[string]any{"out": tensorReply(attended.Out)}
		if attended.LSE != nil {
			reply["lse"] = tensorReply(*attended.LSE)
		}
		return reply, nil
	}
	return results[0].Interface(), nil
}

func convert(value any, to any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

func setFields(target reflect.Value, r *runner, query map[string]json.RawMessage) error {
	for name, text := range query {
		field := target.FieldByName(goName(name))
		if !field.IsValid() {
			return fmt.Errorf("%s has no field %s", target.Type(), goName(name))
		}
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			return err
		}
		if err := convert(r.named(value), field.Addr().Interface()); err != nil {
			return err
		}
	}
	return nil
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
