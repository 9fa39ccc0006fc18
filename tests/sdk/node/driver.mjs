// Runs the official Node SDKs over a list of jobs. The jobs and the results are those of ../python/driver.py, which
// describes them.

import { readFileSync } from "node:fs";

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const TIMEOUT_MILLISECONDS = 20_000;

const options = (job, suffix) => ({
  apiKey: job.api_key ?? "sk-test-client",
  baseURL: job.base_url + suffix,
  maxRetries: 0,
  timeout: TIMEOUT_MILLISECONDS,
});

const messagesRequest = (job) => ({
  model: "claude-test",
  max_tokens: 256,
  messages: [{ role: "user", content: "Hello" }],
  ...job.request,
});

const chatRequest = (job) => ({
  model: "gpt-test",
  messages: [{ role: "user", content: "Hello" }],
  ...job.request,
});

const responsesRequest = (job) => ({ model: "gpt-test", input: "Hello", ...job.request });

const streamOptions = (job) => (job.include_usage ? { stream_options: { include_usage: true } } : {});

const describe = (error) => ({
  class: error.constructor.name,
  message: error.message,
  type: error.type ?? null,
  code: error.code ?? null,
  status_code: error.status ?? null,
});

async function iterate(job, result, openStream, withTypes) {
  result.raw_items = 0;
  if (withTypes) result.raw_types = [];
  if (job.details) result.items = [];
  try {
    for await (const item of await openStream()) {
      result.raw_items += 1;
      if (withTypes) result.raw_types.push(item.type);
      if (job.details) result.items.push(JSON.parse(JSON.stringify(item)));
    }
  } catch (error) {
    result.raw_error = error.constructor.name;
  }
}

async function finish(job, result, call) {
  try {
    // The helpers hang getters and private fields on what they return: only what JSON shows of it is compared.
    result.final = JSON.parse(JSON.stringify(await call()));
    result.helper_ok = true;
  } catch (error) {
    result.helper_ok = false;
    result.helper_error = describe(error);
    if (job.details && error.headers) result.headers = Object.fromEntries(error.headers);
  }
}

async function runAnthropic(job, result) {
  const client = new Anthropic(options(job, ""));
  const messages = job.beta ? client.beta.messages : client.messages;
  const request = messagesRequest(job);
  if (job.mode === "raw" || job.mode === "both") {
    await iterate(job, result, () => messages.create({ ...request, stream: true }), true);
  }
  if (job.mode === "stream" || job.mode === "both") {
    await finish(job, result, () => messages.stream(request).finalMessage());
  }
  if (job.mode === "json") {
    await finish(job, result, () => messages.create(request));
  }
}

async function runOpenaiChat(job, result) {
  const completions = new OpenAI(options(job, "/v1")).chat.completions;
  const request = chatRequest(job);
  const streamed = { ...request, ...streamOptions(job) };
  if (job.mode === "raw" || job.mode === "both") {
    await iterate(job, result, () => completions.create({ ...streamed, stream: true }), false);
  }
  if (job.mode === "stream" || job.mode === "both") {
    await finish(job, result, () => completions.stream(streamed).finalChatCompletion());
  }
  if (job.mode === "json") {
    await finish(job, result, () => completions.create(request));
  }
}

async function runOpenaiResponses(job, result) {
  const responses = new OpenAI(options(job, "/v1")).responses;
  const request = responsesRequest(job);
  if (job.mode === "raw" || job.mode === "both") {
    await iterate(job, result, () => responses.create({ ...request, stream: true }), true);
  }
  if (job.mode === "stream" || job.mode === "both") {
    await finish(job, result, () => responses.stream(request).finalResponse());
  }
  if (job.mode === "json") {
    await finish(job, result, () => responses.create(request));
  }
}

const runners = {
  anthropic: runAnthropic,
  "openai-chat": runOpenaiChat,
  "openai-responses": runOpenaiResponses,
};

async function run(job) {
  const result = {
    raw_items: null,
    raw_types: null,
    raw_error: null,
    helper_ok: null,
    helper_error: null,
    final: null,
  };
  await runners[job.dialect](job, result);
  return result;
}

const results = [];
for (const job of JSON.parse(readFileSync(0, "utf8"))) results.push(await run(job));
process.stdout.write(JSON.stringify(results));
