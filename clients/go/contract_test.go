// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

type document struct {
	Paths      map[string]map[string]struct{ OperationID string }
	Components struct {
		Schemas map[string]struct {
			Properties map[string]struct{ Enum []string }
		}
	}
}

func read(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestProblemTypesAreTheClosedList(t *testing.T) {
	var openapi document
	read(t, "../../daemon/openapi.json", &openapi)
	var mine []string
	for _, kind := range ProblemTypes {
		mine = append(mine, problemPrefix+string(kind))
	}
	if theirs := openapi.Components.Schemas["problem"].Properties["type"].Enum; !reflect.DeepEqual(mine, theirs) {
		t.Errorf("run clients/generate.py: the client knows %v, the document lists %v", mine, theirs)
	}
}

func TestEveryOperationHasAMethodOrAReason(t *testing.T) {
	var openapi document
	var leftOut map[string]string
	read(t, "../../daemon/openapi.json", &openapi)
	read(t, "../left_out.json", &leftOut)
	client := reflect.TypeOf(&Client{})
	for path, methods := range openapi.Paths {
		for method, operation := range methods {
			name := operation.OperationID
			pascal := ""
			for _, part := range strings.Split(name, "_") {
				pascal += strings.ToUpper(part[:1]) + part[1:]
			}
			if _, ok := client.MethodByName(pascal); !ok && leftOut[name] == "" {
				t.Errorf("%s %s: there is no method %s", method, path, pascal)
			}
		}
	}
}
