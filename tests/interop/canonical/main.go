// Command canonical gives the bytes that AWS signs for a manifest, with the libraries AWS does it with
// and with types of its own, so that another implementation can be compared with it.
//
//	canonical                           answers frames on its input, see below
//	canonical shapes                    writes the fields of all kinds, as JSON
//	canonical sign KIND KEY.pem FILE    writes the document of a file signed
//	canonical verify KIND KEY.pem FILE  fails when the signature in a file does not hold
//
// A batch on the input is a number of documents, then for each the length of its kind, the kind, the
// length of the document, the document. The answer has for each a byte, 'o' or 'r', a length, and what
// is signed, or why the document was refused. Numbers are four bytes, the highest first. A batch is
// answered when it is read to its end, so that nobody waits for the other with a full pipe.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "canonical:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	var written []byte
	var err error
	switch {
	case len(arguments) == 0:
		return serve(bufio.NewReaderSize(os.Stdin, 1<<20), os.Stdout)
	case len(arguments) == 1 && arguments[0] == "shapes":
		written, err = shapes()
	case len(arguments) == 4 && arguments[0] == "sign":
		written, err = sign(arguments[1], arguments[2], arguments[3])
	case len(arguments) == 4 && arguments[0] == "verify":
		err = verify(arguments[1], arguments[2], arguments[3])
	default:
		return errors.New("usage: canonical [shapes | sign KIND KEY.pem FILE | verify KIND KEY.pem FILE]")
	}
	if err == nil {
		_, err = os.Stdout.Write(written)
	}
	return err
}

type request struct {
	kind     string
	document []byte
}

func serve(input io.Reader, output io.Writer) error {
	for {
		batch, err := readBatch(input)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var answers []byte
		for _, asked := range batch {
			answers = answer(answers, asked)
		}
		if _, err := output.Write(answers); err != nil {
			return err
		}
	}
}

func readBatch(input io.Reader) ([]request, error) {
	count, err := readNumber(input)
	if err != nil {
		return nil, err
	}
	batch := make([]request, count)
	for index := range batch {
		kind, err := readText(input)
		if err != nil {
			return nil, err
		}
		document, err := readText(input)
		if err != nil {
			return nil, err
		}
		batch[index] = request{string(kind), document}
	}
	return batch, nil
}

func answer(answers []byte, asked request) []byte {
	status := byte('o')
	result, err := guarded(asked)
	if err != nil {
		status, result = 'r', []byte(err.Error())
	}
	answers = binary.BigEndian.AppendUint32(append(answers, status), uint32(len(result)))
	return append(answers, result...)
}

// guarded tells a panic in one of the libraries as a refusal.
func guarded(asked request) (result []byte, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	return canonical(asked.kind, asked.document)
}

func readNumber(input io.Reader) (uint32, error) {
	var raw [4]byte
	if _, err := io.ReadFull(input, raw[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(raw[:]), nil
}

func readText(input io.Reader) ([]byte, error) {
	length, err := readNumber(input)
	if err != nil {
		return nil, err
	}
	text := make([]byte, length)
	_, err = io.ReadFull(input, text)
	return text, err
}
