package nestinglimit

import "google.golang.org/protobuf/encoding/protowire"

// message says which fields of a message lead to attribute values, by number.
type message map[protowire.Number]*message

var (
	anyValue  = message{}
	list      = message{1: &anyValue}
	keyValue  = message{2: &anyValue}
	table     = message{1: &keyValue}
	owner3    = message{3: &keyValue} // a scope, an event
	owner4    = message{4: &keyValue} // a link
	owner1    = message{1: &keyValue} // a resource
	span      = message{9: &keyValue, 11: &owner3, 13: &owner4}
	scopes    = message{1: &owner3, 2: &span}
	resources = message{1: &owner1, 2: &scopes}
	request   = message{1: &resources}
)

func init() {
	anyValue[5] = &list
	anyValue[6] = &table
}

type level struct {
	kind  *message
	left  []byte
	depth int
}

// deeper tells whether a value of an ExportTraceServiceRequest holds more than `most` lists and maps in each other.
//
// It walks without recursion. A list or map in another costs four bytes or more, so what is shorter cannot be too deep
// and is not looked into: an ordinary request costs a glance at each span. Broken bytes are left to the decoder.
func deeper(body []byte, most int) bool {
	stack := []level{{&request, body, 0}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		number, wire, size := protowire.ConsumeTag(top.left)
		if size < 0 {
			stack = stack[:len(stack)-1]
			continue
		}
		rest := top.left[size:]
		value, length := []byte(nil), 0
		if wire == protowire.BytesType {
			value, length = protowire.ConsumeBytes(rest)
		} else {
			length = protowire.ConsumeFieldValue(number, wire, rest)
		}
		if length < 0 {
			stack = stack[:len(stack)-1]
			continue
		}
		top.left = rest[length:]
		next := (*top.kind)[number]
		if next == nil || wire != protowire.BytesType {
			continue
		}
		depth := top.depth
		if top.kind == &anyValue {
			depth++
		}
		if depth > most {
			return true
		}
		if len(value) >= 4*(most-depth) {
			stack = append(stack, level{next, value, depth})
		}
	}
	return false
}

// What stands around a value in JSON, and how many brackets one level of a map costs: {"kvlistValue":{"values":[{.
const (
	aroundJSON = 12
	levelJSON  = 4
)

// deeperJSON is deeper for JSON, by its brackets: a list costs fewer than a map, so it may be a third deeper.
func deeperJSON(body []byte, most int) bool {
	depth, text := 0, false
	for at := 0; at < len(body); at++ {
		switch c := body[at]; {
		case text && c == '\\':
			at++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			if depth++; depth > aroundJSON+levelJSON*most {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}
