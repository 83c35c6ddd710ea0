// A BullMQ application under bullmq-otel: `node bull_app.cjs work|publish`.
const fs = require("node:fs");
const { trace } = require("@opentelemetry/api");
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-http");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { FlowProducer, Queue, Worker } = require("bullmq");
const { BullMQOtel } = require("bullmq-otel");

const role = process.argv[2];
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": `bull-${role}`, "service.version": "7", "host.name": "here" }),
  spanProcessors: [
    new BatchSpanProcessor(new OTLPTraceExporter({ url: process.env.APP_OTLP }), { scheduledDelayMillis: 300 }),
  ],
});
provider.register();
const telemetry = new BullMQOtel({ tracerName: "shop", version: "7" });
const address = new URL(process.env.APP_REDIS);
const connection = { host: address.hostname, port: Number(address.port), maxRetriesPerRequest: null };
const queues = Object.fromEntries(["emails", "reports"].map((name) => [name, new Queue(name, { connection, telemetry })]));

function tell(what, job, more) {
  const at = String(process.hrtime.bigint() - tell.from + tell.wall);
  fs.appendFileSync(process.env.APP_LOG, `${JSON.stringify({ what, job, ...more }).slice(0, -1)},"at":${at}}\n`);
}
tell.from = process.hrtime.bigint();
tell.wall = BigInt(Date.now()) * 1000000n;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function add(queue, name, data, options, parent = "") {
  const at = String(process.hrtime.bigint() - tell.from + tell.wall);
  const job = await queues[queue].add(name, data, options);
  fs.appendFileSync(
    process.env.APP_LOG,
    `{"what":"published","job":"${queue}/${job.id}","type":"${name}","parent":"${parent}","queue":"${queue}","at":${at}}\n`,
  );
}

async function work(queue) {
  return new Worker(
    queue,
    async (job) => {
      const id = `${queue}/${job.id}`;
      const attempt = job.attemptsMade + 1;
      tell("started", id, { attempt });
      await pause(50);
      for (let n = 0; n < (job.data.children ?? 0); n++) await add("reports", "child", {}, {}, id);
      if (attempt <= (job.data.fail ?? 0)) {
        tell("ended", id, { attempt, outcome: attempt < (job.opts.attempts ?? 1) ? "retry" : "failure" });
        throw new Error("not yet");
      }
      tell("ended", id, { attempt, outcome: "success" });
      return { ok: true };
    },
    { connection, telemetry, name: `worker-${queue}`, concurrency: 2 },
  );
}

async function publish() {
  for (let n = 0; n < 15; n++) await add("emails", "welcome", {}, {});
  for (let n = 0; n < 5; n++) await add("reports", "export", {}, {});
  for (const fail of [1, 2, 3]) await add("emails", "shaky", { fail }, { attempts: 3 });
  for (const fail of [1, 3]) await add("reports", "patient", { fail }, { attempts: 3, backoff: { type: "fixed", delay: 500 } });
  for (let n = 0; n < 3; n++) await add("emails", "later", {}, { delay: 2000 });
  for (let n = 0; n < 3; n++) await add("emails", "family", { children: 2 }, {});
  const at = String(process.hrtime.bigint() - tell.from + tell.wall);
  for (const job of await queues.emails.addBulk([1, 2, 3].map(() => ({ name: "bulk", data: {} }))))
    fs.appendFileSync(process.env.APP_LOG, `{"what":"published","job":"emails/${job.id}","type":"bulk","parent":"","queue":"emails","at":${at}}\n`);
}

async function main() {
  if (role === "publish") {
    await publish();
  } else {
    const workers = [await work("emails"), await work("reports")];
    await new Promise((done) => process.once("SIGTERM", done));
    for (const worker of workers) await worker.close();
  }
  for (const queue of Object.values(queues)) await queue.close();
  await provider.shutdown();
  process.exit(0);
}
main();
