package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"strings"
)

// problems collects mistakes, so that all of them are told at once.
type problems struct {
	list []string
	more int
}

// maxProblems are told in full: a list of a million rows may have as many.
const maxProblems = 10

func (p *problems) add(format string, a ...any) {
	if len(p.list) == maxProblems {
		p.more++
		return
	}
	p.list = append(p.list, fmt.Sprintf(format, a...))
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	text := strings.Join(p.list, "\n")
	if p.more > 0 {
		text += fmt.Sprintf("\nand %d more", p.more)
	}
	return errors.New(text)
}

// plain leaves out what the message around an error says already: the file,
// the package.
func plain(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if text, ok := strings.CutPrefix(err.Error(), "mail: "); ok {
		return errors.New(text)
	}
	return err
}

// checkAddress wants an address and nothing around it.
func checkAddress(addr string) error {
	a, err := mail.ParseAddress(addr)
	switch {
	case addr == "":
		return errors.New("there is no address")
	case !strings.Contains(addr, "@"):
		return errors.New("there is no @")
	case err != nil: // in the words of a grammar
		return errors.New("it is malformed, the form is ann@example.com")
	case a.Address != addr:
		return errors.New("there is more than the address")
	case !strings.Contains(domainOf(addr), ".") && !strings.HasPrefix(domainOf(addr), "["):
		return errors.New("the domain has no dot")
	}
	return nil
}

// domainOf returns what stands behind the last @.
func domainOf(addr string) string { return addr[strings.LastIndexByte(addr, '@')+1:] }
