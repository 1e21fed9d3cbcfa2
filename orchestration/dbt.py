"""The command `attune-dbt`: dbt, a tenth quicker (`garbage`)."""

from orchestration.garbage import collect_rarely


def main() -> None:
    """As `dbt` with the same arguments."""
    collect_rarely()
    from dbt.cli.main import cli

    cli()


if __name__ == "__main__":
    main()
