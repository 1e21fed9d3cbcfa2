"""Who is told: a webhook and e-mail, both off until they are configured. A failure to tell stops no run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from email.message import EmailMessage

from feature_repo.errors import DeliveryError
from feature_repo.mail import send_mail
from feature_repo.webhook import post_json
from orchestration.errors import one_line
from orchestration.settings import Settings

logger = logging.getLogger(__name__)


def is_configured(settings: Settings) -> bool:
    """Whether anybody is to be told at all."""
    return bool(settings.alert_webhook or settings.alert_email)


def deliver(settings: Settings, subject: str, lines: Sequence[str]) -> list[str]:
    """Tell everybody who is configured; returns what went wrong, a sentence for each way that failed.

    The webhook gets {"subject", "text", "lines"}: `text` is what chat services show of a posted JSON.
    """
    problems = []
    text = "\n".join(lines)
    if settings.alert_webhook:
        try:
            post_json(
                settings.alert_webhook,
                {"subject": subject, "text": f"{subject}\n{text}", "lines": list(lines)},
            )
        except (DeliveryError, OSError) as error:
            problems.append(f"the webhook of ATTUNE_ALERT_WEBHOOK was not told: {one_line(error)}")
    if settings.alert_email:
        message = EmailMessage()
        message["Subject"], message["From"] = subject, settings.mail_from
        message["To"] = ", ".join(settings.alert_email)
        message.set_content(text + "\n")
        try:
            send_mail(settings.smtp_url, [message])
        except (DeliveryError, OSError) as error:
            problems.append(f"nobody of ATTUNE_ALERT_EMAIL was told: {one_line(error)}")
    for problem in problems:
        logger.warning("%s", problem)
    return problems
