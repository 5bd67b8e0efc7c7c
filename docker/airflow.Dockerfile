# Airflow's pages, DAG processor and triggerer: neither torch nor Java, since none of them runs a
# step. Build from the project's folder: docker build -f docker/airflow.Dockerfile .
FROM python:3.11-slim-bookworm

WORKDIR /opt/nightrank
COPY scripts/uv.lock scripts/uv.lock
RUN pip install --no-cache-dir --require-hashes -r scripts/uv.lock
COPY pyproject.toml requirements.lock ./
# the user below may not write beside the packages, so that each process would compile them again
RUN uv pip install --system --no-cache --compile-bytecode --require-hashes --group docker \
    -c requirements.lock
COPY dags dags

RUN useradd --uid 50000 --create-home airflow \
    && install -d -o airflow /opt/airflow /opt/airflow/logs
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/nightrank/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    PYTHONPATH=/opt/nightrank/dags
USER 50000
ENTRYPOINT ["airflow"]
CMD ["version"]
