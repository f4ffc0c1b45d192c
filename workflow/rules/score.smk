# Scores that need only the generations and the references; scores by an encoder, which has a look at the references once
# for all; and one rule that publishes every score, whoever made it.


rule score:
    input:
        inputs_of_score,
    output:
        update(touch("results/batches/score-{batch}.done")),
    log:
        "results/logs/score/{batch}.log",
    retries: RETRIES
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory_after(attempts_of("score", "{batch}"), memory_of_score),
        runtime=minutes_after(attempts_of("score", "{batch}"), minutes_of_score),
    params:
        members=members_of("score"),
    message:
        in_log("score {params.members}")
    shell:
        "exec python -m loragrid score results/batches/score-{wildcards.batch}.json >> {log} 2>&1"


rule download_encoder:
    output:
        update("data/encoders/{encoder}/model.json"),
    log:
        "results/logs/download_encoder/{encoder}.log",
    retries: 3
    conda:
        "../../envs/cpu.yaml"
    params:
        study=STUDY_FILE,
    message:
        in_log("fetch the encoder {wildcards.encoder}")
    shell:
        "python -m loragrid download --study {params.study:q} --encoder {wildcards.encoder} >> {log} 2>&1"


rule encode:
    input:
        inputs_of_references,
    output:
        update("data/references/{prompts}/{references}.safetensors"),
    log:
        "results/logs/encode/{prompts}/{references}.log",
    retries: RETRIES
    conda:
        "../../envs/gpu.yaml"
    resources:
        gpu=1,
        cpus_per_task=2,
        nodes=1,
        mem_mb=memory_after(attempts_of("encode", "{prompts}/{references}"), memory_of_references),
        runtime=minutes_after(attempts_of("encode", "{prompts}/{references}"), minutes_of_references),
    params:
        study=STUDY_FILE,
    message:
        in_log("encode the references of {wildcards.prompts} by {wildcards.references}")
    shell:
        "exec python -m loragrid encode --study {params.study:q}"
        " --references {wildcards.prompts}/{wildcards.references} >> {log} 2>&1"


rule score_by_encoder:
    input:
        inputs_of_score_by_encoder,
    output:
        update(touch("results/batches/score_by_encoder-{batch}.done")),
    log:
        "results/logs/score_by_encoder/{batch}.log",
    retries: RETRIES
    conda:
        "../../envs/gpu.yaml"
    resources:
        gpu=1,
        cpus_per_task=2,
        nodes=1,
        mem_mb=memory_after(attempts_of("score_by_encoder", "{batch}"), memory_of_score_by_encoder),
        runtime=minutes_after(attempts_of("score_by_encoder", "{batch}"), minutes_of_score_by_encoder),
    params:
        members=members_of("score_by_encoder"),
    message:
        in_log("score {params.members} by an encoder")
    shell:
        "exec python -m loragrid score results/batches/score_by_encoder-{wildcards.batch}.json >> {log} 2>&1"


rule publish_score:
    input:
        batch_of_score,
    output:
        update("results/{subject}/eval/{evaluation}/scores/{score}-{key}.json"),
    log:
        "results/logs/publish_score/{subject}/{evaluation}/{score}-{key}.log",
    retries: 0
    conda:
        "../../envs/cpu.yaml"
    params:
        answers=answers_in_words,
    message:
        in_log("publish the {wildcards.score} of {params.answers}")
    shell:
        f"{PUBLISHED} python -m loragrid publish results/{{wildcards.subject}}/eval/{{wildcards.evaluation}} {{output}} > {{log}} 2>&1"
