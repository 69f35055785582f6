"""The company before its first customer: users, pipelines, fields, boards, and, unless it is a new
account, products.
"""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import Any

from . import catalog, fields
from .clock import DAY, END, FOUNDED, TIMEZONE, wire_v1
from .custom_fields import codes, draw_value
from .ledger import Row
from .market import Market
from .rows import blank
from .texts import Texts
from .writes import Writes


def info(seed: int, size: int, market: Market, texts: Texts) -> Row:
    """Return what v1 /users/me adds to the token's user.

    Companies with different texts or markets have different domains, so that no cache mixes them.
    """
    ending = ""
    if market != Market():
        ending = f"-market-{sha256(repr(market).encode()).hexdigest()[:8]}"
    return {
        "company_id": 7_000_000 + seed % 100_000,
        "company_name": "Kaskaad Software OÜ",
        "company_domain": f"{texts.domain}-seed{seed}-{size}{ending}",
        "company_country": "EE",
        "company_industry": "IT Services",
        "default_currency": "EUR",
        "timezone_name": TIMEZONE,
    }


def matches(company: Writes, random: Random, with_products: bool, texts: Texts) -> None:
    """Write the beginnings, all by events."""
    _users(company, texts)
    for row in sorted(catalog.PIPELINES):
        order = catalog.PIPELINES.index(row) + 1
        company.add_row(
            "pipelines",
            id=row.id,
            name=row.name,
            order_nr=order,
            is_deal_probability_enabled=row.has_probability,
        )
    staged = [
        (stage, pipeline.id, order)
        for pipeline in catalog.PIPELINES
        for order, stage in enumerate(pipeline.stages, 1)
    ]
    for stage, pipeline_id, order in sorted(staged):
        values: Row = {
            "order_nr": order,
            "name": stage.name,
            "deal_probability": stage.probability,
            "pipeline_id": pipeline_id,
        }
        company.add_row(
            "stages",
            id=stage.id,
            **values,
            is_deal_rot_enabled=stage.rot_days is not None,
            days_to_rotten=stage.rot_days,
        )
    for entity, plans in texts.plans.items():
        for definition in fields.standard(entity, texts.standard_options):
            company._tick()
            company._put_field(entity, definition)
        for plan, code in zip(plans, codes(company.seed, entity, plans), strict=True):
            company.add_field(
                entity, plan.name, plan.kind, plan.options, named_parts=plan.named_parts, code=code
            )
    phase = 2
    for order, (board, name, phases) in enumerate(catalog.BOARDS, 1):
        company.add_row("boards", id=board, name=name, order_nr=order)
        for nr, label in enumerate(phases, 1):
            company.add_row("phases", id=phase, name=label, board_id=board, order_nr=nr)
            phase += 3
    for template, title, board in catalog.TEMPLATES:
        company.add_row(
            "project_templates", id=template, title=title, description=None, projects_board_id=board
        )
    if with_products:
        _products(company, random, texts)


def _users(company: Writes, texts: Texts) -> None:
    for index, (user, plain, _, _) in enumerate(catalog.USERS):
        name = texts.user_names.get(user, plain)
        admin = user == catalog.ME
        access = [
            {
                "app": "sales",
                "admin": admin,
                "permission_set_id": f"cc4d7f62-4038-4352-abf3-{user:012}",
            }
        ]
        access.append(
            {
                "app": "global",
                "admin": admin,
                "permission_set_id": f"b7976233-39bd-43a9-b305-{user:012}",
            }
        )
        row = blank(
            "users",
            id=user,
            name=name,
            default_currency="EUR",
            locale="et_EE",
            lang=1,
            email=texts.user_email(user, name),
            phone=f"+372 600 {user}" if index % 3 else None,
            activated=True,
            last_login=wire_v1(END - index * 7_919),
            has_created_company=admin,
            access=access,
            active_flag=True,
            timezone_name=TIMEZONE,
            timezone_offset="+03:00",
            role_id=1 if admin else 2,
            is_you=admin,
            is_deleted=False,
        )
        company._tick()
        company._next["users"] = user + 1
        company._create("users", row, catalog.ME)
    for user, follower in ((1010, 1003), (1010, 1014), (1031, 1003)):
        company.follow("user", user, follower)


def _products(company: Writes, random: Random, texts: Texts) -> None:
    plans = texts.plans["product"]
    codes = [f["field_code"] for f in company.fields["product"] if f["is_custom_field"]]
    options = [
        [o["id"] for o in f["options"] or ()]
        for f in company.fields["product"]
        if f["is_custom_field"]
    ]
    for index, product in enumerate(catalog.products(texts.product_names)):
        custom: dict[str, Any] = {}
        for plan, code, ids in zip(plans, codes, options, strict=True):
            if random.random() < plan.share:
                if plan.kind == "set":
                    custom[code] = ids[: 1 + index % 3]
                elif plan.kind == "user":
                    custom[code] = catalog.USERS[1 + index % 12][0]
                else:
                    custom[code] = draw_value(
                        plan.kind, FOUNDED, random.random, plan.words, texts.joined
                    )
        price = product.pop("price")
        new = company._next["products"]
        prices = [
            {
                "product_id": new,
                "price": round(price * rate, 2),
                "currency": currency,
                "cost": round(price * 0.3, 2),
                "direct_cost": None if index % 4 else round(price * 0.1, 2),
                "notes": "" if index % 5 else "list price 2023",
            }
            for currency, rate in catalog.RATES.items()
            if currency == "EUR" or index % 6
        ]
        company.add_product(
            **product,
            prices=prices,
            is_linkable=index != 37,
            owner_id=catalog.USERS[1 + index % 12][0],
            custom_fields=custom,
        )
        if index % 5 == 0:
            for tier, factor in (("Basic", 0.8), ("Plus", 1.4)):
                variation = company._next["product_variations"]
                rows = [
                    {**p, "product_variation_id": variation, "price": round(p["price"] * factor, 2)}
                    for p in prices
                ]
                for row in rows:
                    del row["product_id"]
                company.add_row(
                    "product_variations",
                    name=f"{product['name']} ({tier})",
                    product_id=new,
                    prices=rows,
                )
        if index % 3 == 0:
            company.follow("product", new, catalog.USERS[1 + index % 12][0])
            if index % 2 == 0:
                company.follow("product", new, catalog.ME)
                company.unfollow("product", new, catalog.ME)
    company.now = max(company.now, FOUNDED + DAY)
