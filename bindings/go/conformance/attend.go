// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"

	"mustafar"
)

func (r *runner) attend(s step) error {
	var caches []*mustafar.Cache
	for _, slot := range s.ints("caches") {
		caches = append(caches, r.find(slot))
	}
	shape, count, qLen, width := r.geometry(s), len(caches), s.int("q_len"), s.int("weights_width")
	heads := shape.QHeads
	queries := count * qLen * heads
	dtype := mustafar.F32Type
	if s.has("out_dtype") {
		dtype = dtypes[s.text("out_dtype")]
	}
	out, lse := newArray(dtype, queries*shape.HeadDimV), newArray(mustafar.F32Type, queries)
	weights, dropped := newArray(mustafar.F32Type, queries*width), newArray(mustafar.F32Type, queries)
	q := s.tensor("q", readArray(s.text("q"), queries*shape.HeadDimK), count, qLen, heads, shape.HeadDimK)
	options := mustafar.AttendOptions{
		At:            s.has("q_position"),
		QPosition:     int64(s.float("q_position")),
		Scale:         float32(s.float("scale")),
		Softcap:       float32(s.float("softcap")),
		SlidingWindow: s.int("sliding_window"),
		DropMass:      float32(s.float("drop_mass")),
	}
	if s.has("sinks") {
		options.Sinks = readArray(s.text("sinks"), heads).tensor(heads)
	}
	outputs := mustafar.AttendOutputs{
		Out: out.tensor(count, qLen, heads, shape.HeadDimV),
		LSE: lse.tensor(count, qLen, heads),
	}
	if width > 0 {
		outputs.Weights = weights.tensor(count, qLen, heads, width)
	}
	if options.DropMass > 0 {
		outputs.Dropped = dropped.tensor(count, qLen, heads)
	}
	if err := mustafar.Attend(caches, s.int("layer"), q, options, outputs); err != nil {
		return err
	}
	if s.has("status") {
		return nil // should have been refused
	}
	s.expectClose("lse", lse, r.strict, false)
	if width > 0 {
		s.expectClose("weights", weights, r.strict, false)
	}
	if options.DropMass > 0 {
		r.checkCertificate(s, out, dropped)
	} else {
		s.expectClose("out", out, r.strict, true)
	}
	return nil
}

// checkCertificate: `out` of the step is exact. What was left out is a sum of V rows of at most `value_most`, with
// weights of at most `dropped`, which is at most drop_mass.
func (r *runner) checkCertificate(s step, out, dropped *array) {
	exact, d, most := readArray(s.text("out"), 0), out.count()/dropped.count(), s.float("value_most")
	tolerance := s.tolerance("out", r.strict) * most
	for i := 0; i < dropped.count(); i++ {
		bound := dropped.value(i)
		if !(bound >= 0 && bound <= s.float("drop_mass")*(1+1e-6)) {
			fail("dropped = %g is no bound below drop_mass", bound)
		}
		for c := i * d; c < (i+1)*d; c++ {
			if !(math.Abs(out.value(c)-exact.value(c)) <= bound*most+tolerance) {
				fail("out is farther from the exact one than `dropped` allows")
			}
		}
	}
}

func (r *runner) merge(s step) error {
	rows, d := s.int("rows"), s.int("dim")
	outA, outB := readArray(s.text("out_a"), rows*d), readArray(s.text("out_b"), rows*d)
	lseA, lseB := readArray(s.text("lse_a"), rows), readArray(s.text("lse_b"), rows)
	out, lse := newArray(outA.dtype, outA.count()), newArray(mustafar.F32Type, rows)
	err := mustafar.Merge(r.context, outA.tensor(rows, d), lseA.tensor(rows), outB.tensor(rows, d), lseB.tensor(rows),
		out.tensor(rows, d), lse.tensor(rows))
	if err != nil || s.has("status") {
		return err
	}
	s.expectClose("out", out, r.strict, true)
	s.expectClose("lse", lse, r.strict, false)
	return nil
}
