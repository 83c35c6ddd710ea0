module otjobs.invalid/collector/nestinglimit

go 1.26.0

require (
	go.opentelemetry.io/collector/component v1.67.0
	go.opentelemetry.io/collector/extension v1.67.0
	go.opentelemetry.io/collector/extension/extensionmiddleware v0.161.0
	google.golang.org/grpc v1.83.2
	google.golang.org/protobuf v1.36.11
)
