// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"errors"
	"math"
	"math/rand"
	"testing"
)

var small = Geometry{Layers: 1, QHeads: 4, KVHeads: 2, HeadDimK: 32}

func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		check(t, err)
		return value
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants the error `kind`, of a *Error with a text.
func refused(t testing.TB, err error, kind error) {
	t.Helper()
	var e *Error
	if !errors.Is(err, kind) || !errors.As(err, &e) || e.Message == "" {
		t.Errorf("error is %v; expected %v", err, kind)
	}
}

func newTestContext(t testing.TB, options ContextOptions) *Context {
	t.Helper()
	context := must[*Context](t)(NewContext(options))
	t.Cleanup(func() { check(t, context.Close()) })
	return context
}

func parsed(t testing.TB, text string) *Recipe {
	t.Helper()
	recipe := must[*Recipe](t)(ParseRecipe(text))
	t.Cleanup(func() { check(t, recipe.Close()) })
	return recipe
}

func newTestCache(t testing.TB, recipe string, options CacheOptions) *Cache {
	t.Helper()
	if options.MaxTokens == 0 {
		options.MaxTokens = 512
	}
	cache := must[*Cache](t)(NewCache(newTestContext(t, ContextOptions{Threads: 1}), small, parsed(t, recipe), options))
	t.Cleanup(func() { check(t, cache.Close()) })
	return cache
}

func random(seed int64, count int) []float32 {
	source := rand.New(rand.NewSource(seed))
	values := make([]float32, count)
	for i := range values {
		values[i] = float32(source.NormFloat64())
	}
	return values
}

// rows are random keys or values for `small`.
func rows(seed int64, tokens int) Tensor { return F32(random(seed, tokens*2*32), tokens, 2, 32) }

func fill(t testing.TB, cache *Cache, seed int64, tokens int) {
	t.Helper()
	check(t, cache.Append(0, rows(seed, tokens), rows(seed+1, tokens)))
}

func near(t testing.TB, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, expected %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tolerance) {
			t.Fatalf("%s[%d] = %g, expected %g", what, i, got[i], want[i])
		}
	}
}
