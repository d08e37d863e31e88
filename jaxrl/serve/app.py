"""The routes of a server."""

from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from jaxrl.serve.chat import chat
from jaxrl.serve.completions import complete
from jaxrl.serve.http import Endpoint, Guard, Handler, Respond, read_body
from jaxrl.serve.recording import Recordings
from jaxrl.serve.requests import read_json
from jaxrl.serve.service import Service


def routes(service: Service, guard: Guard) -> list[BaseRoute]:
    """What answers for a service.

    Args:
      service: What is served.
      guard: Asks clients for the key.
    """

    def route(path: str, method: str, handler: Handler) -> BaseRoute:
        return Route(path, Endpoint(guard(handler)), methods=[method])

    models = partial(show_models, service.limits.model, service.limits.context)
    found = [
        Route("/health", Endpoint(partial(_health, service)), methods=["GET"]),
        route("/v1/models", "GET", models),
        route("/v1/completions", "POST", partial(complete, service)),
        route("/v1/chat/completions", "POST", partial(_chat, service)),
    ]
    kept = service.recordings
    if kept is not None:
        episode = "/episodes/{name}"
        recorded = partial(_recorded_chat, service, kept)
        found += [
            route(episode, "GET", partial(_show, kept)),
            route(episode, "DELETE", partial(_drop, kept)),
            route(f"{episode}/reward", "POST", partial(_close, kept)),
            route(f"{episode}/v1/models", "GET", models),
            route(f"{episode}/v1/chat/completions", "POST", recorded),
        ]
    return found


async def show_models(
    name: str, context: int | None, request: Request, respond: Respond
) -> None:
    """List the one model there is."""
    del request
    card = {"id": name, "object": "model", "created": 0, "owned_by": "jaxrl"}
    card |= {"max_model_len": context}
    await respond(JSONResponse({"object": "list", "data": [card]}))


async def _health(service: Service, request: Request, respond: Respond) -> None:
    del request
    jobs = service.jobs
    await respond(
        JSONResponse(
            {
                "status": "refusing" if jobs.refusing else "ok",
                "waited_for": jobs.held,
                "room": jobs.room,
            },
            HTTPStatus.SERVICE_UNAVAILABLE if jobs.refusing else HTTPStatus.OK,
        )
    )


async def _chat(service: Service, request: Request, respond: Respond) -> None:
    await chat(service, request, respond, None)


async def _recorded_chat(
    service: Service, kept: Recordings, request: Request, respond: Respond
) -> None:
    name = request.path_params["name"]
    await chat(service, request, respond, partial(kept.open, name))


async def _show(kept: Recordings, request: Request, respond: Respond) -> None:
    await respond(JSONResponse(kept.show(request.path_params["name"])))


async def _drop(kept: Recordings, request: Request, respond: Respond) -> None:
    kept.drop(request.path_params["name"])
    await respond(JSONResponse({"deleted": True}))


async def _close(kept: Recordings, request: Request, respond: Respond) -> None:
    body = read_json(await read_body(request))
    await respond(JSONResponse(await kept.close(request.path_params["name"], body)))
