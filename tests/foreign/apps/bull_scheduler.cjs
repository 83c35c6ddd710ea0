// BullMQ jobs whose spans do not pair by themselves: a scheduler's ticks, a job that is put off six times, a name twice.
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-http");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { DelayedError, Queue, Worker } = require("bullmq");
const { BullMQOtel } = require("bullmq-otel");

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "bull-scheduler" }),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: process.env.APP_OTLP }))],
});
provider.register();
const telemetry = new BullMQOtel({ tracerName: "shop", version: "7" });
const address = new URL(process.env.APP_REDIS);
const connection = { host: address.hostname, port: Number(address.port), maxRetriesPerRequest: null };
const ended = { tick: 0, patient: 0 };
let starts = 0;

async function work(job, token) {
  if (job.name === "patient" && (starts += 1) < 6) {
    await job.moveToDelayed(Date.now() + 100, token);
    throw new DelayedError();
  }
  return 1;
}

(async () => {
  const queue = new Queue("user", { connection, telemetry });
  const worker = new Worker("user", work, { connection, telemetry, name: "w1" });
  worker.on("completed", (job) => (ended[job.name] += 1));
  await queue.add("patient", {});
  await queue.upsertJobScheduler("clock", { every: 300, limit: 4 }, { name: "tick", data: {} });
  for (let i = 0; i < 600 && (ended.tick < 4 || ended.patient < 1); i++) await new Promise((done) => setTimeout(done, 100));
  await worker.close();
  await queue.close();
  await provider.shutdown();
  process.exit(ended.tick === 4 && ended.patient === 1 ? 0 : 1);
})();
