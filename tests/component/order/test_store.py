"""The store's reads find what they read by an index: an order costs the same however many there are."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.chassis.storage.database import Database
from services.order import migrations
from services.order.store import Store
from tests.component.order.listed import check_lists, explained, fill


async def test_no_read_scans_orders_or_events(tmp_path: Path) -> None:
    async with await Database.open(f"sqlite:///{tmp_path}/order.db", migrations) as database:
        store, plans = Store(database), explained(database)
        await store.open_orders("e")
        await store.orders_by_key(["p:a", "p:b"])
        await store.order("e", 1)
        await store.events_after("e", 0, 10)
    assert len(plans) == 4
    assert not [plan for plan in plans if "SCAN" in plan or "TEMP B-TREE" in plan]
    assert any("orders_open" in plan for plan in plans)


async def test_every_list_is_what_fits_in_order_and_read_by_an_index(tmp_path: Path) -> None:
    async with await Database.open(f"sqlite:///{tmp_path}/order.db", migrations) as database:
        stored = await fill(database)
        plans = explained(database)
        await check_lists(database, stored)
    assert not [plan for plan in plans if "SCAN" in plan or "TEMP B-TREE" in plan]
    for name in ("orders_by_", "orders_open", "order_events_by_", "order_events_fills"):
        assert any(name in plan for plan in plans), name


@pytest.mark.parametrize(("share", "touch", "ended"), [(0.5, False, False), (0.1, True, False)])
async def test_no_environment_goes_on_with_other_fills_than_its_orders_were_taken_on(
    tmp_path: Path, share: float, touch: bool, ended: bool
) -> None:
    url = await _older(tmp_path, volume_share=share, fill_on_touch=touch, ended=ended)
    with pytest.raises(RuntimeError, match=r"^e fill by settings of their own"):
        await Database.open(url, migrations)


@pytest.mark.parametrize(("share", "touch", "ended"), [(0.1, False, False), (0.5, True, True)])
async def test_what_fills_as_before_or_has_ended_is_brought_to_this_version(
    tmp_path: Path, share: float, touch: bool, ended: bool
) -> None:
    url = await _older(tmp_path, volume_share=share, fill_on_touch=touch, ended=ended)
    async with await Database.open(url, migrations) as database:
        names = await database.run(lambda one: [each["name"] for each in sa.inspect(one).get_columns("environments")])
    assert "ended" in names
    assert not {"volume_share", "fill_on_touch"} & set(names)


async def _older(tmp_path: Path, **settings: float) -> str:
    """A store of the first version with one environment."""
    url, old = f"sqlite:///{tmp_path}/order.db", tmp_path / "old"
    old.mkdir()
    shutil.copy(Path(migrations.__file__).parent / "0001_orders.py", old)
    async with await Database.open(url, old) as database:

        def fill(connection: sa.Connection) -> None:
            table = sa.Table("environments", sa.MetaData(), autoload_with=connection)
            whole = {each.name: 0 for each in table.columns}
            texts = {"environment_id": "e", "principal": "ada", "owner": "ada"}
            connection.execute(sa.insert(table), {**whole, **texts, **settings})

        await database.run(fill)
    return url
