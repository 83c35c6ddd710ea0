// Package nestinglimit refuses trace requests whose attribute values are nested too deep, before they are decoded.
//
// The collector decodes, copies and writes a value by recursion, about a kilobyte of stack a level. A value nested
// a million deep needs few megabytes on the wire and more stack than a Go program may have: the process dies, and a
// persistent queue hands it the same request at the next start. Stacks are no heap, so memory_limiter sees none of it.
//
// It is a middleware of the OTLP receiver: over HTTP it answers 400, over gRPC INTERNAL, and senders drop the request.
package nestinglimit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensionmiddleware"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is wrapped
	"google.golang.org/grpc/mem"
)

// Config is what the configuration may say.
type Config struct {
	// MaxDepth is how many lists and maps may stand in each other in one value.
	MaxDepth int `mapstructure:"max_depth"`
}

// Validate refuses a limit that lets nothing in.
func (c *Config) Validate() error {
	if c.MaxDepth < 1 {
		return fmt.Errorf("max_depth is %d; it should be at least 1", c.MaxDepth)
	}
	return nil
}

// NewFactory makes the extension `nesting_limit`.
func NewFactory() extension.Factory {
	return extension.NewFactory(
		component.MustNewType("nesting_limit"),
		func() component.Config { return &Config{MaxDepth: 64} },
		func(_ context.Context, _ extension.Settings, c component.Config) (extension.Extension, error) {
			return &limit{depth: c.(*Config).MaxDepth}, nil
		},
		component.StabilityLevelBeta,
	)
}

type limit struct {
	component.StartFunc
	component.ShutdownFunc
	depth int
}

var (
	_ extensionmiddleware.HTTPServer = (*limit)(nil)
	_ extensionmiddleware.GRPCServer = (*limit)(nil)
)

func (l *limit) refusal() string {
	return fmt.Sprintf("an attribute value is nested deeper than %d levels; the request is refused", l.depth)
}

// GetHTTPHandler gives the check of a body; the receiver has decompressed it and bounded its size.
func (l *limit) GetHTTPHandler(context.Context) (extensionmiddleware.WrapHTTPHandlerFunc, error) {
	return func(_ context.Context, next http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			check := deeper
			if strings.HasPrefix(strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Type"))), "application/json") {
				check = deeperJSON
			}
			body, err := io.ReadAll(r.Body)
			if err == nil && check(body, l.depth) {
				http.Error(w, l.refusal(), http.StatusBadRequest)
				return
			}
			// A body that could not be read fails again where the receiver reads it, which knows the answer.
			r.Body = &reread{Reader: io.MultiReader(bytes.NewReader(body), failing{err}), closer: r.Body}
			next.ServeHTTP(w, r)
		}), nil
	}, nil
}

type reread struct {
	io.Reader
	closer io.Closer
}

func (r *reread) Close() error { return r.closer.Close() }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// GetGRPCServerOptions gives a codec that checks a message before the usual one decodes it.
func (l *limit) GetGRPCServerOptions(context.Context) ([]grpc.ServerOption, error) {
	usual := encoding.GetCodecV2("proto")
	return []grpc.ServerOption{grpc.ForceServerCodecV2(&codec{CodecV2: usual, limit: l})}, nil
}

type codec struct {
	encoding.CodecV2
	limit *limit
}

func (c *codec) Unmarshal(data mem.BufferSlice, v any) error {
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	if deeper(whole.ReadOnlyData(), c.limit.depth) {
		return fmt.Errorf("%s", c.limit.refusal())
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, v)
}
