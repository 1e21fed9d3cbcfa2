"""The vocabulary that every other package shares: event contract, entities, feature views, services.

Belongs here: what training and serving must agree on, as plain definitions; the layout of the home
folder; the typed gateway to the feature store. It imports nothing of ours and is the lightest package.

Does not belong here: SQL (``transforms``), datasets and models (``training``), where events come from and
how they are landed (``orchestration``), decisions and HTTP (``serving``).
"""

from feature_repo.feast_checks import leave_feast_unchecked

leave_feast_unchecked()
