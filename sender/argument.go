package sender

import "errors"

// ErrArgument is wrapped by errors of methods that did nothing because what they
// were asked for is mistaken, such as a stream that Config.Streams does not have.
var ErrArgument = errors.New("wrong argument")
