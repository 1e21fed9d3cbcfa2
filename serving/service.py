"""The BentoML service `serving.service:Personalization`: native endpoints, and the mounted API.

    bentoml serve serving.service:Personalization

Importing this module reads neither the disk nor the environment; a process that starts does. Both faces
translate to `serving.personalize`.
"""

import gc
import logging
import sys
from typing import Annotated, Any, cast

import bentoml
from pydantic import Field

from serving.access.keys import read_keys
from serving.api.answers import JsonAnswer
from serving.api.application import connect, create_application
from serving.api.schemas.common import CustomerId, Limit
from serving.api.schemas.recommendations import MAX_BATCH_CUSTOMERS
from serving.errors import ServingError, end_command
from serving.experiments.file import read_experiments
from serving.logs import configure_logs
from serving.people.permissions import Signals
from serving.recommendations.ask import RecommendAsk
from serving.releases import BENTO_MODEL, find_release, read_release
from serving.requests import RequestMiddleware
from serving.rules import RULES_FILE, read_rules_file
from serving.runtime import Runtime, open_runtime
from serving.settings import read_settings

logger = logging.getLogger(__name__)
GC_ALLOCATIONS = 50_000
SWITCH_SECONDS = 0.001

application = create_application()


@bentoml.service(
    name="Personalization",
    description="Personalized answers for a shop's applications",
    http={"port": 8011},
    # Each of these would cost more than the answer itself; our own metrics and logs stand instead.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
    traffic={"timeout": 10},
)
@bentoml.asgi_app(application)
class Personalization:
    """Answers for customers from the current release and the online features."""

    runtime: Runtime | None = None

    @bentoml.on_deployment
    @staticmethod
    def refuse_to_start_without_a_release() -> None:
        """Runs once, before any worker: a start that cannot work ends here with one line that says why."""
        try:
            settings = read_settings()
            read_keys(settings.api_keys_file)
            read_experiments(settings.home.experiments_file)
            read_rules_file(settings.home.root / RULES_FILE)
            read_release(find_release(settings, bento_model()))
        except ServingError as error:
            end_command(error)

    @bentoml.on_startup
    async def start(self) -> None:
        """Load the release, open the online store, connect the API."""
        settings = read_settings()
        configure_logs(settings.log_level)
        self.runtime = await open_runtime(
            settings,
            read_release(find_release(settings, bento_model()), "lazy_algorithms" in settings.flags),
        )
        connect(application, self.runtime)
        if not self.runtime.keys:
            logger.warning("no API keys (ATTUNE_API_KEYS_FILE): only requests of this machine are answered")
        # What was imported and loaded stays: a full collection would look at all of it while requests wait.
        gc.collect()
        gc.freeze()
        # Answers leave no cycles behind: to look for some every third request costs a twentieth of it, and
        # where thousands of events wait for one commit a third.
        gc.set_threshold(GC_ALLOCATIONS, 10, 20)
        # Each step of the writer's thread, and each answer of a database, waits so long for a busy loop.
        sys.setswitchinterval(SWITCH_SECONDS)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Close what `start` opened."""
        if self.runtime is not None:
            await self.runtime.close()

    @bentoml.api
    async def recommend(
        self, ctx: bentoml.Context, customer_id: CustomerId, limit: Limit = 10, exclude_seen: bool = False
    ) -> dict[str, Any]:
        """Items for one customer, as GET /api/v1/recommendations/{customer_id}."""
        ask = RecommendAsk(customer_id, limit, exclude_seen, signals=Signals.of(ctx.request.scope))
        return await self._running.personalizer.recommend(ask)

    @bentoml.api
    async def recommend_batch(
        self,
        ctx: bentoml.Context,
        customer_ids: Annotated[list[CustomerId], Field(min_length=1, max_length=MAX_BATCH_CUSTOMERS)],
        limit: Limit = 10,
        exclude_seen: bool = False,
    ) -> dict[str, Any]:
        """Items for many customers, as POST /api/v1/recommendations/batch."""
        return await self._running.personalizer.recommend_batch(
            customer_ids, limit, exclude_seen, Signals.of(ctx.request.scope)
        )

    @bentoml.api
    async def profile(self, customer_id: CustomerId) -> dict[str, Any]:
        """What is known of one customer, as GET /api/v1/personalization/profile/{customer_id}."""
        try:
            return await self._running.profiles.profile(customer_id)
        except ServingError as error:
            # A response as it stands: BentoML would log a traceback and answer with a list.
            return JsonAnswer({"detail": str(error)}, status_code=error.status)  # type: ignore[return-value]

    @property
    def _running(self) -> Runtime:
        assert self.runtime is not None, "start() has run before the first request"
        return self.runtime


def bento_model() -> str:
    """Tag of the release that the served Bento was built with; the latest one if no Bento is served."""
    bento = cast(Any, Personalization).bento
    tags = [str(each.tag) for each in bento.info.all_models if each.tag.name == BENTO_MODEL] if bento else []
    return tags[0] if tags else f"{BENTO_MODEL}:latest"


# The decorator makes a Service of the class, which its type does not say.
cast(Any, Personalization).add_asgi_middleware(RequestMiddleware, state=application.state)
