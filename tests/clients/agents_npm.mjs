// openai-agents of npm, whose session plays, interrupts and calls tools by itself.
import { createInterface } from "node:readline";
import { RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";
import { z } from "zod";

const tell = (what, fields = {}) => process.stdout.write(JSON.stringify({ what, ...fields }) + "\n");
const tools = ["opening_hours", "weather"].map((name) => tool({
  name, description: name, parameters: z.object({}),
  execute: async () => (tell("tool", { name }), "fine"),
}));
const model = "gpt-realtime";
const agent = new RealtimeAgent({ name: "desk", tools });
const turnDetection = { type: "server_vad", interruptResponse: true };
const config = { audio: { input: { turnDetection } } };
const session = new RealtimeSession(agent, { transport: "websocket", model, config });
session.on("audio", (event) => tell("sound", { bytes: event.data.byteLength }));
session.on("audio_interrupted", () => tell("interrupted"));
session.on("error", (error) => tell("error", { message: JSON.stringify(error) }));
session.transport.on("connection_change", (status) => status === "disconnected" && tell("ended"));

await session.connect({ apiKey: "none", url: `${process.argv[2]}/realtime?model=${model}` });
tell("open");
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.do === "greet") session.transport.sendEvent({ type: "response.create" });
  if (order.do === "hear") {
    const bytes = Uint8Array.from(Buffer.from(order.audio, "base64"));
    session.sendAudio(bytes.buffer);
  }
  if (order.do === "close") session.close();
}
process.exit(0);
