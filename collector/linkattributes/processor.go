// Package linkattributes takes the attributes of links through processors that know only those of events.
//
// No processor reads the attributes of links: the redaction passes them by, and the transform language has no path to
// them. With `as: events` each link of a span with attributes lends them to an event at the end of the span; with
// `as: links`, after the processors between, they go back, and the events are gone.
package linkattributes

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"
)

// Config is what the configuration must say.
type Config struct {
	// As is `events` before the processors that are to see the attributes, and `links` after them.
	As string `mapstructure:"as"`
}

// Validate refuses anything but the two directions.
func (c *Config) Validate() error {
	if c.As != "events" && c.As != "links" {
		return fmt.Errorf("as is %q; it should be events or links", c.As)
	}
	return nil
}

// NewFactory makes the processor `link_attributes`.
func NewFactory() processor.Factory {
	return processor.NewFactory(
		component.MustNewType("link_attributes"),
		func() component.Config { return &Config{} },
		processor.WithTraces(create, component.StabilityLevelBeta),
	)
}

func create(
	ctx context.Context, set processor.Settings, config component.Config, next consumer.Traces,
) (processor.Traces, error) {
	move := lend
	if config.(*Config).As == "links" {
		move = giveBack
	}
	each := func(_ context.Context, traces ptrace.Traces) (ptrace.Traces, error) {
		for _, resource := range traces.ResourceSpans().All() {
			for _, scope := range resource.ScopeSpans().All() {
				for _, span := range scope.Spans().All() {
					if span.Links().Len() > 0 {
						move(span)
					}
				}
			}
		}
		return traces, nil
	}
	return processorhelper.NewTraces(
		ctx, set, config, next, each, processorhelper.WithCapabilities(consumer.Capabilities{MutatesData: true}),
	)
}

// lend gives every link an event of its own, in order, so that the way back needs no other mark than the count.
func lend(span ptrace.Span) {
	for _, link := range span.Links().All() {
		link.Attributes().MoveTo(span.Events().AppendEmpty().Attributes())
	}
}

func giveBack(span ptrace.Span) {
	links, events := span.Links(), span.Events()
	own := events.Len() - links.Len()
	for i, link := range links.All() {
		events.At(own + i).Attributes().MoveTo(link.Attributes())
	}
	at := -1
	events.RemoveIf(func(ptrace.SpanEvent) bool {
		at++
		return at >= own
	})
}
