# The steps: nightrank with torch, Spark, Delta and Java, made by the same set-up as on a laptop,
# and Airflow's scheduler, whose tasks call them.
# Build from the project's folder: docker build -f docker/jobs.Dockerfile .
FROM python:3.11-slim-bookworm

# Debian's current security fixes are worth more than one version for ever
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --uid 50000 --create-home airflow \
    && install -d -o airflow /opt/nightrank /opt/airflow /opt/airflow/logs /opt/warehouse
USER 50000
WORKDIR /opt/nightrank
COPY --chown=airflow pyproject.toml requirements.lock README.md LICENSE ./
COPY --chown=airflow scripts scripts
COPY --chown=airflow jobs jobs
COPY --chown=airflow models models
# compiled here once, not by the first command of every container
RUN UV_COMPILE_BYTECODE=1 bash scripts/setup.sh && rm -rf /home/airflow/.cache
COPY --chown=airflow dags dags

ENV PATH=/opt/nightrank/.venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/nightrank/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    NIGHTRANK_WAREHOUSE=/opt/warehouse \
    NIGHTRANK_REPORTS=/opt/warehouse/reports \
    PYTHONPATH=/opt/nightrank/dags
VOLUME /opt/warehouse
CMD ["nightrank", "--help"]
