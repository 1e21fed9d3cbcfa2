# One locked environment, an image for each role: docker build --target service|orchestration|mlflow .

FROM python:3.11-slim-bookworm AS locked
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.lock .
RUN /opt/venv/bin/python -m pip install --no-deps --require-hashes --requirement requirements.lock

FROM python:3.11-slim-bookworm AS base
# Nothing here calls home, and BLAS leaves the threads to the libraries above it.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    DO_NOT_TRACK=1 \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    DAGSTER_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    BENTOML_DO_NOT_TRACK=True \
    GX_ANALYTICS_ENABLED=false \
    FEAST_USAGE=False
RUN useradd --create-home --uid 1000 attune \
    && install -d -o attune -g attune /var/lib/attune /var/lib/attune-keys /var/lib/mlflow /opt/attune
COPY --from=locked /opt/venv /opt/venv
WORKDIR /opt/attune

FROM base AS mlflow
USER attune
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1"]

FROM base AS product
COPY --chown=attune:attune pyproject.toml README.md LICENSE ./
COPY --chown=attune:attune feature_repo feature_repo
COPY --chown=attune:attune training training
COPY --chown=attune:attune serving serving
COPY --chown=attune:attune orchestration orchestration
COPY --chown=attune:attune transforms transforms
RUN python -m pip install --no-deps --no-build-isolation --disable-pip-version-check --editable .
ENV ATTUNE_HOME=/var/lib/attune
USER attune
VOLUME /var/lib/attune

FROM product AS service
# Off loopback it asks for keys: python -m serving.access.keys --name NAME --role ROLE --add-to this file.
ENV API_HOST=0.0.0.0 \
    ATTUNE_API_KEYS_FILE=/var/lib/attune-keys/keys.yaml
VOLUME /var/lib/attune-keys
EXPOSE 8011
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8011/health', timeout=2)"]
CMD ["python", "-m", "serving"]

FROM product AS orchestration
COPY --chown=attune:attune docker/dagster.yaml docker/workspace.yaml docker/
ENV DAGSTER_HOME=/opt/attune/docker
EXPOSE 3000 4000
CMD ["dagster", "code-server", "start", "--host", "0.0.0.0", "--port", "4000", \
     "--module-name", "orchestration.definitions", "--location-name", "attune"]
