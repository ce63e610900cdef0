"""How a step runs: DVC stages, MLflow records, Prefect tasks."""
