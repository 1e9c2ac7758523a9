// SPDX-License-Identifier: Apache-2.0

package mustafar

// #include "shim.h"
import "C"

import (
	"errors"
	"io"
)

var errInvalidRead = errors.New("mustafar: the reader returned a count outside 0..len")

// Save writes a snapshot to w. modelID is any text that names weights and position encoding, at most ModelIDMax
// bytes; load compares it. Equal caches give equal bytes. Where w fails, the error is ErrIO and wraps w's.
func (c *Cache) Save(modelID string, w io.Writer) error {
	a := arguments{call: "mustafar_cache_save"}
	id := a.text("model_id", modelID)
	if w == nil {
		a.refuse("write is nil; give an io.Writer")
	}
	if a.err != nil {
		return a.err
	}
	if err := c.use(a.call); err != nil {
		return err
	}
	defer c.done()
	var err error
	s := serve(func(s *stream, handle C.uintptr_t) {
		result := C.mustafar_go_cache_save(c.raw, id, handle)
		if err = failure(&result); err == nil && !s.flush() {
			err = &Error{Code: ErrIO, Values: [4]int64{-1}}
		}
	}, writeAll(w))
	return streamError(err, a.call+": write", s)
}

// streamError is err, with what the reader or writer returned where that is the reason.
func streamError(err error, what string, s *stream) error {
	if e, ok := err.(*Error); ok && e.Code == ErrIO && s.err != nil {
		e.cause = s.err
		e.Message = what + ": " + s.err.Error()
	}
	return err
}

// SaveFile is Save into a file: written beside it, synced, then renamed over it, so that path is never half a
// snapshot and an old one survives a failure.
func (c *Cache) SaveFile(modelID, path string) error {
	a := arguments{call: "mustafar_cache_save_file"}
	id, name := a.text("model_id", modelID), a.text("path", path)
	if a.err != nil {
		return a.err
	}
	if err := c.use(a.call); err != nil {
		return err
	}
	defer c.done()
	result := C.mustafar_go_cache_save_file(c.raw, id, name)
	return fileFailure(&result)
}

// LoadOptions are what a snapshot must match; nil is taken from the snapshot.
type LoadOptions struct {
	Geometry *Geometry
	Recipe   *Recipe
	ModelID  *string
	Options  *CacheOptions // MaxTokens 0 = as saved; Manual must be as saved
}

// Load builds a cache from a snapshot; it reads exactly the bytes of one. ErrMismatch, ErrCorrupt, ErrIO (which
// wraps the error of r), ErrCapacity.
func Load(context *Context, options LoadOptions, r io.Reader) (*Cache, error) {
	l := loading{arguments: arguments{call: "mustafar_cache_load"}}
	if r == nil {
		l.refuse("read is nil; give an io.Reader")
	}
	return l.load(context, options, func(recipe *C.mustafar_recipe) (result C.mustafar_go_cache, err error) {
		s := serve(func(_ *stream, handle C.uintptr_t) {
			result = C.mustafar_go_cache_load(context.raw, l.expected, recipe, l.modelID, handle)
		}, readSome(r))
		return result, streamError(failure(&result.error), l.call+": read", s)
	})
}

// LoadFile is Load from a file; bytes behind the snapshot are ErrCorrupt.
func LoadFile(context *Context, options LoadOptions, path string) (*Cache, error) {
	l := loading{arguments: arguments{call: "mustafar_cache_load_file"}}
	name := l.text("path", path)
	return l.load(context, options, func(recipe *C.mustafar_recipe) (C.mustafar_go_cache, error) {
		result := C.mustafar_go_cache_load_file(context.raw, l.expected, recipe, l.modelID, name)
		return result, fileFailure(&result.error)
	})
}

// loading is what Load and LoadFile share.
type loading struct {
	arguments
	expected C.mustafar_go_expected
	modelID  *C.char
}

func (l *loading) load(context *Context, options LoadOptions,
	call func(recipe *C.mustafar_recipe) (C.mustafar_go_cache, error)) (*Cache, error) {
	if options.Geometry != nil {
		l.expected.has_geometry, l.expected.geometry = 1, l.geometry(*options.Geometry)
	}
	if options.Options != nil {
		l.expected.has_options, l.expected.options = 1, l.cacheOptions(*options.Options)
	}
	if options.ModelID != nil {
		l.modelID = l.text("model_id", *options.ModelID)
	}
	if l.err != nil {
		return nil, l.err
	}
	var recipe *C.mustafar_recipe
	if options.Recipe != nil {
		if err := options.Recipe.use(l.call); err != nil {
			return nil, err
		}
		defer options.Recipe.release()
		recipe = options.Recipe.raw
	}
	if err := context.use(l.call); err != nil {
		return nil, err
	}
	defer context.done()
	result, err := call(recipe)
	if err != nil {
		return nil, err
	}
	return newCache(result.cache, context.core), nil
}
