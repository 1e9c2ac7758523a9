// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"mustafar"
)

// runner runs one case: its caches, and one method per kind of step, which returns what the call said.
type runner struct {
	context *mustafar.Context
	strict  bool // the reference rows run
	test    *testCase
	caches  map[int]*mustafar.Cache
	saved   map[int][]byte
}

func newRunner(context *mustafar.Context, strict bool, test *testCase) *runner {
	return &runner{context, strict, test, map[int]*mustafar.Cache{}, map[int][]byte{}}
}

// run returns why the case failed, or "".
func (r *runner) run() (why string) {
	at := ""
	defer func() {
		for _, cache := range r.caches {
			if err := cache.Close(); err != nil && why == "" {
				why = err.Error()
			}
		}
	}()
	defer func() {
		if problem := recover(); problem != nil { // a failure, or this program stumbled over a step
			why = fmt.Sprintf("%s: %v", at, problem)
		}
	}()
	for i, s := range r.test.Steps {
		at = fmt.Sprintf("step %d %s", i, s.text("op"))
		checkAnswer(s, r.call(s))
	}
	return ""
}

func (r *runner) call(s step) error {
	steps := map[string]func(step) error{
		"create": r.create, "append": r.append, "prune": r.prune, "evict": r.evict, "evict_scores": r.evictScores,
		"fork": r.fork, "save": r.save, "load": r.load, "attend": r.attend, "merge": r.merge, "state": r.state,
		"export": r.export, "bytes": r.bytes, "plan": r.plan, "stats": r.stats, "recipe": r.recipe, "side": r.side,
		"window": r.window, "commit": r.commit, "compress": r.compress, "truncate": r.truncate, "reset": r.reset,
	}
	do, known := steps[s.text("op")]
	if !known {
		fail("unknown op")
	}
	return do(s)
}

// checkAnswer: the step was refused as it should have been: status, argument, numbers.
func checkAnswer(s step, err error) {
	got, text := mustafar.OK, ""
	var e *mustafar.Error
	if errors.As(err, &e) {
		got, text = e.Code, e.Message
	} else if err != nil {
		fail("not an error of the package: %v", err)
	}
	wanted := "MUSTAFAR_OK"
	if s.has("status") {
		wanted = "MUSTAFAR_" + s.text("status")
	}
	if got.Error() != wanted {
		fail("status %v, expected %s: %s", got, wanted, text)
	}
	if !strings.Contains(text, s.text("names")) {
		fail("the error does not name %s: %s", s.text("names"), text)
	}
	for i, value := range s.ints("error_values") {
		if e.Values[i] != int64(value) {
			fail("error values[%d] = %d, expected %d", i, e.Values[i], value)
		}
	}
}

func (r *runner) cache(s step) *mustafar.Cache { return r.find(s.int("cache")) }

func (r *runner) find(slot int) *mustafar.Cache {
	cache, ok := r.caches[slot]
	if !ok {
		fail("no cache %d", slot)
	}
	return cache
}

// put keeps a cache that a call made, in place of the one that was there.
func (r *runner) put(slot int, cache *mustafar.Cache, err error) error {
	if err != nil {
		return err
	}
	if err := r.caches[slot].Close(); err != nil { // nil closes, too
		fail("%v", err)
	}
	r.caches[slot] = cache
	return nil
}

func (r *runner) geometry(s step) mustafar.Geometry {
	g := r.test.Geometry
	if own, ok := s["geometry"].(map[string]any); ok {
		g = own
	}
	return mustafar.Geometry{
		Layers:   g.int("layers"),
		QHeads:   g.int("q_heads"),
		KVHeads:  g.int("kv_heads"),
		HeadDimK: g.int("head_dim_k"),
		HeadDimV: g.int("head_dim_v"),
		DType:    dtypes[g.text("dtype")],
	}
}

// parse makes the recipe of the step or of the case.
func (r *runner) parse(s step) (*mustafar.Recipe, error) {
	if s.has("recipe") {
		return mustafar.ParseRecipe(s.text("recipe"))
	}
	return mustafar.ParseRecipe(r.test.Recipe)
}
