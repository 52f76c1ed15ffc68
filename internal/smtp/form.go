package smtp

import (
	"errors"
	"os"
)

// raise notes that f went through, and goes to the next form if one may be tried.
func (s *Session) raise(f *flight) {
	switch {
	case f.misfit:
		return
	case f.chained:
		s.mem.Form = FormChained
		return
	case s.mem.Settled || !s.ext.pipelining:
		return
	}
	switch s.form {
	case FormSerial:
		s.form, s.mem.Form = FormGrouped, FormGrouped
	case FormGrouped:
		s.form = FormChained
	}
}

// misfit notes that the server refused the form in which f came.
func (s *Session) misfit(f *flight) {
	if !f.misfit {
		f.misfit = true
		s.stepDown()
	}
}

// stepDown goes to the next safer form for good.
func (s *Session) stepDown() {
	if s.form == FormChained {
		s.form = FormGrouped
	} else {
		s.form = FormSerial
	}
	s.mem.Form, s.mem.Settled = s.form, true
}

// learn draws the lesson from a reply that did not come.
func (s *Session) learn(a awaited, e *Error) {
	if s.wire.cause() != nil {
		return
	}
	timeout := errors.Is(e, os.ErrDeadlineExceeded)
	switch {
	case s.form == FormChained && s.chained && s.mem.Form != FormChained:
		s.stepDown() // on trial: in doubt against it
	case timeout && a.f != nil && a.f.chained:
		s.stepDown()
	case timeout && a.step == stepBody && s.chunking() && !s.bdat:
		s.mem.NoBDAT = true // it may count octets wrong
	case timeout && a.f != nil && a.f.mail && s.form == FormGrouped && s.pipelined() && !s.clean &&
		(a.step == stepRcpt || a.step == stepData):
		s.stepDown() // it lost what came with MAIL
	}
}
