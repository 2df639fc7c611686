"""The shop's schema registry: asked once for each schema that a raw topic's records name."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from confluent_kafka.schema_registry import AsyncSchemaRegistryClient, Schema, SchemaRegistryError
from confluent_kafka.schema_registry.common._httpx_compat import httpx

from tracker.errors import BadEvent, Unavailable
from tracker.wire.envelopes import Decoder, schema_id
from tracker.wire.schemas import UNREADABLE, SchemaText, decoder_of

ASK_AGAIN = 60.0
"""Seconds for which a schema that the registry does not know is not asked for again."""
TIMEOUT = 10.0
_NOT_OURS = {401, 403, 407, 408, 425, 429}
"""Of the answers that blame the question those that say nothing about the schema: who asks, and how often."""
_FAILURES = (httpx.HTTPError, OSError)

log = logging.getLogger(__name__)


class SchemaRegistry:
    """Decoders by schema id, learned as records name them. `url` may carry a user and password."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._shown = parts.hostname
        conf: dict[str, Any] = {
            "url": urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
            "timeout": TIMEOUT,
            "max.retries": 2,
        }
        if parts.username is not None:
            conf["basic.auth.user.info"] = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        self._client = AsyncSchemaRegistryClient(conf)
        # The client remembers a schema by its id alone, whatever form of it was asked for.
        self._descriptors = AsyncSchemaRegistryClient(conf)
        self.decoders: dict[int, Decoder | BadEvent] = {}
        self._asked: dict[int, float] = {}

    async def learn(self, values: Iterable[bytes | None]) -> None:
        """Have a decoder, or a reason why not, for the schema of each of these records. Raises `Unavailable`."""
        for number in {number for value in values if (number := schema_id(value)) is not None}:
            known = self.decoders.get(number)
            if known is None or (
                isinstance(known, BadEvent) and time.monotonic() - self._asked.get(number, -ASK_AGAIN) >= ASK_AGAIN
            ):
                self._asked[number] = time.monotonic()
                self.decoders[number] = await self._decoder(number)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._descriptors.aclose()

    async def _decoder(self, number: int) -> Decoder | BadEvent:
        try:
            schema = await self._client.get_schema(number)
            if schema.schema_type == "PROTOBUF":
                schema = await self._descriptors.get_schema(number, fmt="serialized")
            return decoder_of(await self._text(schema))
        except SchemaRegistryError as error:
            status = error.http_status_code
            if not 400 <= status < 500 or status in _NOT_OURS:
                raise Unavailable(f"the schema registry at {self._shown} refused schema {number}: {error}") from error
            # some answer 400 or 422 where the number, which any record may hold, can be no id of theirs
            return BadEvent("no_schema", f"the schema registry at {self._shown} does not know schema {number}")
        except _FAILURES as error:
            raise Unavailable(f"the schema registry at {self._shown} did not answer: {error!r}") from error
        except UNREADABLE as error:
            return BadEvent("no_schema", f"schema {number}: {error if isinstance(error, ValueError) else repr(error)}")

    async def _text(self, schema: Schema) -> SchemaText:
        """A schema with all that it refers to."""
        protobuf = schema.schema_type == "PROTOBUF"
        client = self._descriptors if protobuf else self._client
        references = []
        for reference in schema.references or ():
            if protobuf and str(reference.name).startswith("google/protobuf/"):
                continue
            found = await client.get_version(
                str(reference.subject), reference.version or "latest", fmt="serialized" if protobuf else None
            )
            references.append((str(reference.name), await self._text(found.schema)))
        return SchemaText(schema.schema_type or "AVRO", schema.schema_str or "", references)
