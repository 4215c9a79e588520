"""pipecat: a pipeline with the Realtime service in it, and the story at both ends."""

import asyncio
from importlib.metadata import version

from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner
from talk import RATE_HZ, Heard, Stories

IS_OLD = tuple(map(int, version("pipecat-ai").split(".")[:2])) < (1, 14)


class Ear(FrameProcessor):
    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self.heard = heard

    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.heard.sound(len(frame.audio))
        elif isinstance(frame, InterruptionFrame):
            self.heard.interruptions += 1
        await self.push_frame(frame, direction)


class Pipecat:
    """As its example `realtime-openai` has it, without a transport."""

    lacks = frozenset({"reconnect", "errors"}) | ({"one answer to two calls"} if IS_OLD else set())

    def __init__(self, base_url: str, heard: Heard) -> None:
        self.heard, self.url = heard, f"{base_url}/realtime"

    async def tool(self, params) -> None:
        self.heard.tools.append(params.function_name)
        await params.result_callback({"told": "nine to six"})

    async def open(self) -> None:
        service = OpenAIRealtimeLLMService(api_key="none", base_url=self.url)
        names = ("opening_hours", "weather")
        schemas = [FunctionSchema(name, name, properties={}, required=[]) for name in names]
        for name in names:
            service.register_function(name, self.tool)
        context = LLMContext(tools=ToolsSchema(standard_tools=schemas))
        pair = LLMContextAggregatorPair(context, realtime_service_mode=True)
        pipeline = Pipeline([pair.user(), service, Ear(self.heard), pair.assistant()])
        rates = PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ)
        self.worker = PipelineWorker(pipeline, params=rates)

        @self.worker.event_handler("on_pipeline_error")
        async def failed(_worker, frame: ErrorFrame) -> None:
            self.heard.errors.append(frame.error)
            self.heard.ended = True

        self.runner = WorkerRunner(handle_sigint=False)
        await self.runner.add_workers(self.worker)
        self.task = asyncio.create_task(self.runner.run())
        await asyncio.sleep(0.5)
        self.begun = False

    async def greet(self) -> None:
        await self.worker.queue_frames([LLMRunFrame()])

    async def hear(self, pcm: bytes) -> None:
        await self.worker.queue_frames([InputAudioRawFrame(pcm, RATE_HZ, 1)])

    async def close(self) -> None:
        await self.worker.cancel()
        await asyncio.wait_for(self.task, 5)


class TestPipecat(Stories):
    client = Pipecat
