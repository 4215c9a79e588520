// The official package of npm, which leaves turns, tools and truncation to whoever uses it.
import { connect } from "node:net";
import { createInterface } from "node:readline";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const tell = (what, fields = {}) => process.stdout.write(JSON.stringify({ what, ...fields }) + "\n");
const { protocol, port } = new URL(process.argv[2]);
const client = new OpenAI({ apiKey: "none", baseURL: `https://localhost:${port}/v1` });
// It connects by wss alone, whatever its baseURL says: without TLS by a connection of our own.
const plain = { createConnection: () => connect(port, "127.0.0.1") };
const options = protocol === "ws:" ? plain : {};
const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime", options }, client);
const tools = ["opening_hours", "weather"].map((name) => (
  { type: "function", name, description: name, parameters: { type: "object" } }));
let playing = null, playedBytes = 0;

realtime.socket.on("open", () => {
  realtime.send({ type: "session.update", session: { type: "realtime", tools } });
  tell("open");
});
realtime.socket.on("close", () => tell("ended"));
realtime.on("error", (error) => tell("error", { message: String(error.message) }));
realtime.on("response.output_audio.delta", (event) => {
  const bytes = Buffer.from(event.delta, "base64").length;
  if (playing !== event.item_id) [playing, playedBytes] = [event.item_id, 0];
  playedBytes += bytes;
  tell("sound", { bytes });
});
realtime.on("input_audio_buffer.speech_started", () => {
  if (playing === null) return;
  tell("interrupted");
  const audio_end_ms = Math.floor(playedBytes / 48);
  const item = { item_id: playing, content_index: 0, audio_end_ms };
  realtime.send({ type: "conversation.item.truncate", ...item });
  playing = null;
});
realtime.on("response.done", (event) => {
  const calls = (event.response.output ?? []).filter((item) => item.type === "function_call");
  for (const { name, call_id } of calls) {
    tell("tool", { name });
    const item = { type: "function_call_output", call_id, output: "{}" };
    realtime.send({ type: "conversation.item.create", item });
  }
  if (calls.length) realtime.send({ type: "response.create" });
});

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.do === "greet") realtime.send({ type: "response.create" });
  if (order.do === "hear") realtime.send({ type: "input_audio_buffer.append", audio: order.audio });
  if (order.do === "close") realtime.close();
}
process.exit(0);
