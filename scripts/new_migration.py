"""Write a migration from the difference between the definitions and the migrations there are.

python scripts/new_migration.py "Add the reason to node versions"
python scripts/new_migration.py --check        # fails when the definitions say more than the migrations
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from alembic import command  # noqa: E402
from alembic.config import Config  # noqa: E402
from alembic.util import CommandError  # noqa: E402
from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402

from app.core.embedded import start_embedded  # noqa: E402
from app.core.migrations import upgrade_async  # noqa: E402
from app.core.settings import Settings  # noqa: E402


async def write(database_url: str, message: str | None) -> None:
    await upgrade_async(database_url)
    number = len(list((ROOT / "alembic" / "versions").glob("*.py"))) + 1
    config = Config(ROOT / "alembic.ini")
    engine = create_async_engine(database_url)

    def run(connection: object) -> None:
        config.attributes["connection"] = connection
        if message is None:
            command.check(config)
        else:
            command.revision(config, message, autogenerate=True, rev_id=f"{number:04d}")

    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


def main() -> None:
    message = " ".join(sys.argv[1:]).strip()
    if not message or re.match(r"-(?!-check$)", message):
        raise SystemExit(__doc__)
    with (
        tempfile.TemporaryDirectory() as folder,
        start_embedded(Settings(data_dir=Path(folder), demo=False), redis=False, durable=False) as servers,
    ):
        try:
            asyncio.run(write(servers.database_url, None if message == "--check" else message))
        except CommandError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
