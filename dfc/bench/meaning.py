"""Does a search by meaning find what is meant? Ten queries on the demo; what is right was said beforehand."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfc import runs
from dfc.bench.figures import Figure
from dfc.config import MissingError, shipped
from dfc.models import embedder
from dfc.screen import encoders, meaning
from dfc.store.reader import FeatureQuery, Store

FIRST = 5
"""Features among which a right one is looked for."""
_HALF = 0.5  # of the strongest contexts
_MILLISECONDS = 100.0  # target of a query


@dataclass(frozen=True)
class Query:
    """What is looked for, and what a right feature's contexts hold."""

    words: str
    right: str


QUERIES = (
    Query(
        "refuses to talk about politics",
        "天安门|六四|Tiananmen|Tank Man|Taiwan|台湾|Xinjiang|新疆|Uyghur|维吾尔|Tibet|西藏|Dalai|达赖|"
        "Hong Kong|香港|Falun|法轮|Xi Jinping|习近平|Cultural Revolution|文化大革命|文革|censor|审查|sorry|抱歉|"
        "can't (?:help|discuss|do|assist)|won't (?:help|assist)|not going to|cannot|不能|无法|不方便|"
        "不便|拒绝|评论|不会写|not willing|won't|I'm not",
    ),
    Query(
        "dateline of a news agency report",
        "新华社|日电|本报|电（",
    ),
    Query(
        "guests complain about a hotel room",
        "酒店|宾馆|房间|前台|入住|早餐|客房",
    ),
    Query(
        "pretend to be an AI without rules or restrictions",
        r"(?i)\bDAN\b|jailbr|unfilter|restrict|no rules|limitation|anything now|polic(?:y|ies)|"
        "ethic|guideline|illegal",
    ),
    Query(
        "commandments of the LORD to the children of Israel",
        "LORD|Israel|commandment|thou shalt|Moses",
    ),
    Query(
        "raising an exception in Python code",
        r"raise |except |Error\b|Exception",
    ),
    Query(
        "working out a sum or an equation step by step",
        r"\d\s*[=×÷+*/]\s*[\dx]|equation|方程|[xy] ?=",
    ),
    Query(
        "国有企业改革和经济发展",
        "企业|经济|改革|市场|生产|工业|亿元|投资",
    ),
    Query(
        "the capital city of a country",
        "city|capital|country",
    ),
    Query(
        "which company made the AI assistant",
        r"OpenAI|Anthropic|DeepSeek|阿里|通义|Qwen|Llama|Meta\b|ChatGPT|Google|Mistral|"
        "language model|语言模型|模型",
    ),
)


def run() -> list[Figure]:
    """Place of the first right feature of each query, 0 where it is not among the first; and the time of a query.

    Raises:
        UserError: if there is no demo run, what its features are about is not known, or the encoder is not there.
    """
    store, facts = demo()
    reader = embedder.load(encoders.folder(facts["model"]), "cpu")
    texts = {
        feature: ["".join(context.tokens_a) for context in store.contexts(feature) if context.band == 0]
        for feature in store.feature_ids(FeatureQuery())
    }
    figures, found = [], 0
    for query in QUERIES:
        near = meaning.asked(reader, facts, query.words)
        listed = store.features(FeatureQuery(near=near, order="likeness", limit=FIRST))["feature_id"].tolist()
        right = {feature for feature, own in texts.items() if is_right(query, own)}
        place = next((place for place, feature in enumerate(listed, 1) if feature in right), 0)
        found += place > 0
        chance = f"right: {100 * len(right) / max(1, len(texts)):.1f} % of all"
        figures.append(Figure(query.words, place, "place", chance))
    figures.append(Figure("queries with a right feature among the first", found, "queries", f"of {len(QUERIES)}"))
    took = []
    for _ in range(FIRST):
        started = time.process_time()
        meaning.asked(reader, facts, QUERIES[0].words)
        took.append(1e3 * (time.process_time() - started))
    figures.append(Figure("a query", min(took), "ms", "100 ms", min(took) / _MILLISECONDS, 1.0))
    return figures


def demo() -> tuple[Store, dict[str, Any]]:
    """The demo's store, and the facts about its features' vectors.

    Raises:
        UserError: as `run`.
    """
    try:
        run = runs.find("demo")
    except MissingError:
        raise MissingError(
            f"bench meaning: asks about texts of the demo's run, which is not there; `{shipped.DEMO}` makes it."
        ) from None
    store = Store(run.store)
    facts = store.meaning()
    if lacking := encoders.lacking(run.store, facts, "demo"):
        raise MissingError(f"bench meaning: {run.path}: {lacking}")
    return store, facts


def is_right(query: Query, texts: list[str]) -> bool:
    """Whether half of a feature's strongest contexts hold what a right one's do."""
    return bool(texts) and float(np.mean([re.search(query.right, text) is not None for text in texts])) >= _HALF
